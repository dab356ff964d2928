#pragma once

#include <CLI/CLI.hpp>
#include <memory>

namespace alga::app {

/// `algad admin …`: a client of the admin API whose commands are the operations of the OpenAPI
/// document, so that the two cannot drift apart.
class AdminCommand {
 public:
  /// Adds `admin` and everything below it. Both outlive the parse.
  explicit AdminCommand(CLI::App& cli);
  ~AdminCommand();
  AdminCommand(const AdminCommand&) = delete;
  AdminCommand& operator=(const AdminCommand&) = delete;

  [[nodiscard]] bool chosen() const;
  /// Does what was asked and returns the exit status: 0 good, 1 refused or failed, 2 bad use, 3 the
  /// server cannot be reached.
  [[nodiscard]] int run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace alga::app
