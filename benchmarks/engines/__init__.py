"""TensorRT engines: built without a GPU, executed and timed where one is."""
