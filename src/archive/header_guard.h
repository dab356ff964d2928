#pragma once

#include "base/bytes.h"
#include "base/result.h"

namespace alga::archive {

/// Judges the raw header blocks in front of one entry: extended headers with their bodies, then the
/// entry's own block. libarchive ends a name at the first NUL, so a name that goes on behind it
/// (`a.js\0.exe`) would look different to other readers: `archive.invalid_path`.
Status check_raw_headers(ByteSpan blocks);

}  // namespace alga::archive
