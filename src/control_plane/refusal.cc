#include "control_plane/refusal.h"

#include <algorithm>

namespace alga::control_plane {
namespace {

std::string reference_code_for(const Error& error) {
  if (error.code == "auth.forbidden" || error.kind == Kind::unauthenticated) {
    return "RBAC_FORBIDDEN";
  }
  if (error.code == "blob.not_found") return "STAGING_NOT_FOUND";
  if (error.code.starts_with("blob.")) return "S3_UNAVAILABLE";
  if (error.code.starts_with("archive.")) return "INVALID_BUNDLE";
  if (error.kind == Kind::rate_limited) return "RATE_LIMIT";
  if (error.kind == Kind::invalid) return "BAD_REQUEST";
  std::string code(error.code);
  std::ranges::transform(code, code.begin(), [](char c) {
    if (c == '.') return '_';
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return code;
}

}  // namespace

Refusal::Refusal(Error cause) : error(std::move(cause)), code(reference_code_for(error)) {}

}  // namespace alga::control_plane
