// Readings as JSON, with the names that `python -m htrcompress.transcribe --json` gives them.

#pragma once

#include <string>

#include "htr/htr.h"

// What was read in one image, as one line of JSON.
std::string ToJson(const std::string& path, const htr::Reading& reading);

// An image that could not be read, and why.
std::string ToJson(const std::string& path, const std::string& error);

// A text in quotes.
std::string Quoted(const std::string& text);
