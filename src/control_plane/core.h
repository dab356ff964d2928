#pragma once

#include <atomic>
#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control_plane/control_plane.h"
#include "domain/principal.h"

namespace alga::control_plane {

/// The tenant under which rows of the platform itself stand; no TenantId can be equal to it.
inline constexpr std::string_view kPlatformTenant = "_platform";

/// On whose behalf a service acts.
struct Caller {
  domain::Principal principal;
  std::string request_id;
};

/// What every service of the control plane is given. Lives as long as the ControlPlane;
/// thread-safe.
class Core {
 public:
  explicit Core(Dependencies dependencies);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  [[nodiscard]] sql::Database& db() const { return *deps_.database; }
  [[nodiscard]] const Dependencies& deps() const [[clang::lifetimebound]] { return deps_; }
  [[nodiscard]] const Options& options() const [[clang::lifetimebound]] { return deps_.options; }
  [[nodiscard]] const Logger& log() const [[clang::lifetimebound]] { return deps_.log; }
  [[nodiscard]] WallTime now() const { return deps_.clock->wall(); }
  [[nodiscard]] SteadyTime steady() const { return deps_.clock->steady(); }
  /// A new UUID, sortable by time.
  [[nodiscard]] std::string new_id() const { return uuid_v7(*deps_.clock, *deps_.random); }
  /// An id that sorts behind every one that this process made before, whatever the clock does.
  [[nodiscard]] std::string new_ordered_id() const;
  /// `size` random bytes.
  [[nodiscard]] std::string random_bytes(std::size_t size) const;

 private:
  Dependencies deps_;
  std::string process_;  ///< tells the ids of processes apart
  mutable std::atomic<std::uint64_t> last_id_{0};
};

/// Text of at most `max` bytes, UTF-8, not blank, without control characters and without those that
/// turn the direction of writing. Error:
/// `request.invalid` naming `field`.
[[nodiscard]] Result<std::string> checked_text(std::string text, std::string_view field,
                                               std::size_t max);

/// `request.invalid` with a message.
[[nodiscard]] std::unexpected<Error> invalid(std::string message);

/// JSON text that SQL columns and answers carry.
[[nodiscard]] std::string to_text(const boost::json::value& value);
/// JSON that this program wrote into `column`. Whoever else has written there gets no say: what is
/// no JSON, or of another form, is `sql.malformed_json` (internal) with the name of the column and
/// nothing of the text.
[[nodiscard]] Result<boost::json::value> from_column(std::string_view text,
                                                     std::string_view column);
[[nodiscard]] Result<boost::json::object> object_from_column(std::string_view text,
                                                             std::string_view column);
[[nodiscard]] Result<std::vector<std::string>> strings_from_column(std::string_view text,
                                                                   std::string_view column);
/// That error, for a form that only the reader of the column knows.
[[nodiscard]] std::unexpected<Error> malformed_column(std::string_view column);
/// `text` as a column can hold it: ill-formed UTF-8 and NUL become `?`.
[[nodiscard]] std::string storable(std::string text);

}  // namespace alga::control_plane
