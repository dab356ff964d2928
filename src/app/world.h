#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "config/config.h"

namespace alga::app {

/// Which parts of the platform this process is.
struct Roles {
  bool control_plane = false, gateway = false, runner = false;
  /// From `server.roles`.
  [[nodiscard]] static Roles of(const config::Config& config);
};

/// The composition root: builds every adapter and role from the configuration and wires them; the
/// only place that knows them all. Members are destroyed in reverse order of construction.
class World {
 public:
  /// Builds everything and starts listening. Blocks. Errors: those of the parts, with what was
  /// being built in the message.
  [[nodiscard]] static Result<std::unique_ptr<World>> create(const config::Config& config);
  ~World();

  /// Port of the public listener.
  [[nodiscard]] std::uint16_t port() const;

  /// Stops accepting, lets requests and executions finish for `server.drain_time`, cancels the
  /// rest, writes what is queued. Blocks.
  void stop();

 private:
  friend class Workbench;  // offline commands build some of the parts
  struct Parts;
  explicit World(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace alga::app
