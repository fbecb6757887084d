// Pictures for the demo, through stb_image. A program of your own may use any image library.

#pragma once

#include <filesystem>

#include "htr/htr.h"

// Reads a PNG, JPEG or binary PGM file as grey, with Pillow's weights of red, green and blue; transparent pixels become
// white, and of 16 bits the upper eight count. EXIF orientation is not applied. Decoders of JPEG round differently, so
// a pixel of a JPEG may be a few levels off what Pillow gives.
htr::Image ReadImage(const std::filesystem::path& path);
