#include <signal.h>

#include <cstdio>
#include <optional>
#include <string_view>

#include "app/commands.h"
#include "app/complaint.h"
#include "app/settings.h"
#include "app/world.h"
#include "base/token_lines.h"

namespace alga::app {

int serve(const std::string& config_file, const Flags& flags) {
  // Before any thread exists, so that all of them leave these to us.
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGTERM);
  sigaddset(&ours, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  auto world = World::create(*config);
  if (!world) return complain(world.error());
  int received = 0;
  while (::sigwait(&ours, &received) != 0) {
  }
  (*world)->stop();
  return 0;
}

namespace {

/// The first of the accepted tokens that everybody knows, as the start would refuse it. What cannot
/// be read here may be there where the server runs.
std::optional<std::string_view> known_token(const config::Config& config) {
  if (config.flag("server.development")) return std::nullopt;
  for (const std::string_view name : {"control_plane.token", "runner.storage.token",
                                      "runner.registry.key", "runner.service_token"}) {
    const Result<std::optional<Secret>> token = config.secret(name);
    if (token && *token && accepts_known_token(**token)) return name;
  }
  return std::nullopt;
}

}  // namespace

int check_config(const std::string& config_file, const Flags& flags) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  if (const auto name = known_token(*config)) {
    std::fprintf(stderr,
                 "error: config.default_token: %.*s is a well-known default; choose a secret one\n",
                 static_cast<int>(name->size()), name->data());
    return 2;
  }
  if (auto limits = server_limits(*config); !limits) {
    std::fprintf(stderr, "error: %s\n", limits.error().message.c_str());
    return 2;
  }
  std::printf("the configuration is good\n");
  if (config->text("server.data_dir").empty()) {
    std::printf("server.data_dir is not set: the server needs it, or --data\n");
  }
  return 0;
}

int print_config(const std::string& config_file, const Flags& flags) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  std::printf("%s", config->print_redacted().c_str());
  return 0;
}

}  // namespace alga::app
