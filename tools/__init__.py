"""Programs for those who maintain the project: publishing models, writing tables into the docs."""
