#pragma once

#include <boost/json/array.hpp>
#include <string>
#include <utility>

#include "base/result.h"

namespace alga::control_plane {

/// Why publishing said no, in the reference's words: `error.code` is our code, `code` the
/// upper-case one that its clients know, `issues` what is wrong with the manifest or the component.
struct Refusal {
  Error error;
  std::string code;
  boost::json::array issues;

  /// Chooses the reference's code from ours.
  Refusal(Error cause);  // NOLINT: every Error is a Refusal at this edge
  Refusal(Error cause, std::string reference_code, boost::json::array details = {})
      : error(std::move(cause)), code(std::move(reference_code)), issues(std::move(details)) {}
};

template <class T>
using PublishResult = std::expected<T, Refusal>;

[[nodiscard]] inline std::unexpected<Refusal> refuse(Kind kind, std::string_view code,
                                                     std::string reference_code,
                                                     std::string message,
                                                     boost::json::array issues = {}) {
  return std::unexpected(
      Refusal{Error{kind, code, std::move(message)}, std::move(reference_code), std::move(issues)});
}

}  // namespace alga::control_plane
