#include <signal.h>

#include <cstdio>

#include "app/commands.h"
#include "app/complaint.h"
#include "app/settings.h"
#include "app/world.h"

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

int check_config(const std::string& config_file, const Flags& flags) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
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
