#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/admin_command.h"
#include "app/commands.h"
#include "app/keys_command.h"
#include "app/option_checks.h"
#include "config/values.h"
#include "crypto/process.h"
#include "engine/engine.h"

namespace {

/// What comes before any command: the end of a worker, or of a process that cannot be made safe.
std::optional<int> begin_process(int argc, char** argv) {
  // The workers confine themselves before anything else happens, and nothing happens after their
  // work: not even a look for leaks, which they may not take.
  if (argc == 2 && std::string_view(argv[1]) == "compile-worker") {
    std::_Exit(alga::engine::compile_worker_main());
  }
  if (argc == 2 && std::string_view(argv[1]) == "inspect-worker") {
    std::_Exit(alga::engine::inspect_worker_main());
  }
  if (!alga::crypto::harden_process()) {
    std::fprintf(stderr, "error: core dumps cannot be switched off\n");
    return 1;
  }
  // Some supervisors ignore it, and then nobody would learn how a worker ended.
  ::signal(SIGCHLD, SIG_DFL);
  return std::nullopt;
}

/// What was typed where the name of a command belongs, when it is none: CLI11 only says that one is
/// missing.
std::optional<std::string> unknown_command(const CLI::App& cli, int argc, char** argv) {
  const CLI::App* app = &cli;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    std::vector<std::string> names;
    for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
      if (!command->get_name().empty()) names.push_back(command->get_name());
    }
    if (names.empty() || word.starts_with('-')) return std::nullopt;
    if (std::ranges::find(names, word) == names.end()) {
      const std::string advice = alga::config::nearest(word, names);
      return "error: " + word + " is no command of " + app->get_display_name() +
             (advice.empty() ? "" : "; did you mean " + advice + "?") + "\n";
    }
    app = app->get_subcommand(word);
  }
  return std::nullopt;
}

/// A script that keeps what we print must learn when it was not kept.
int flushed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "error: the output cannot be written\n");
  return status == 0 ? 1 : status;
}

}  // namespace

int main(int argc, char** argv) {
  if (const std::optional<int> ended = begin_process(argc, argv)) return *ended;

  CLI::App cli{"Alga Extension Runtime", "algad"};
  cli.require_subcommand(1);
  cli.set_version_flag("--version", "algad " + alga::app::program_version());
  std::string config_file, component, output, role, data, listen, port_file, token_file;
  std::string path = "/echo";
  std::vector<std::string> sets;
  bool as_json = false;
  bool redacted = false;
  std::string tenant;
  std::string expect;

  auto with_settings = [&](CLI::App* command) {
    command->add_option("--config", config_file, "TOML file")->check(alga::app::not_empty());
    command->add_option("--set", sets, "SETTING=VALUE over file and environment")
        ->check(alga::app::assignment());
    command->add_option("--data", data, "Folder for everything that must outlive a restart")
        ->check(alga::app::not_empty());
    return command;
  };
  auto with_config = [&](CLI::App* command) {
    with_settings(command);
    command->add_option("--role", role, "all, control-plane, gateway or runner")
        ->check(alga::app::not_empty());
    command->add_option("--listen", listen, "ADDRESS:PORT of the public listener; port 0: any")
        ->check(alga::app::not_empty());
    command->add_option("--port-file", port_file, "File that gets the bound port")
        ->check(alga::app::not_empty());
    command
        ->add_option("--bootstrap-token-file", token_file,
                     "File (0600) that gets the first start's token")
        ->check(alga::app::not_empty());
    return command;
  };
  auto flags = [&] {
    alga::app::Flags all;
    auto add = [&](const char* setting, const std::string& value, const char* option) {
      if (!value.empty()) all.push_back({setting, value, option});
    };
    add("server.roles", role, "--role");
    add("server.data_dir", data, "--data");
    add("server.listen", listen, "--listen");
    add("server.port_file", port_file, "--port-file");
    add("server.bootstrap_token_file", token_file, "--bootstrap-token-file");
    for (const std::string& text : sets) {
      std::size_t equals = text.find('=');
      all.push_back(
          {text.substr(0, equals), equals == std::string::npos ? "" : text.substr(equals + 1), {}});
    }
    return all;
  };

  CLI::App* serve = with_config(cli.add_subcommand("serve", "Run the server"));
  CLI::App* check = with_config(cli.add_subcommand("check-config", "Check the configuration"));
  CLI::App* print = with_config(cli.add_subcommand("print-config", "Print the configuration"));
  print->add_flag("--redacted", redacted, "Without secrets (always so)");
  CLI::App* smoke = cli.add_subcommand("smoke", "Run one component, without a server");
  smoke->add_option("component", component)->required();
  smoke->add_option("--path", path, "Path and query that the handler is asked for")
      ->check(alga::app::not_empty());
  CLI::App* inspect = cli.add_subcommand("inspect", "Show what a component needs and offers");
  inspect->add_option("component", component)->required();
  inspect->add_flag("--json", as_json, "Everything, as JSON");
  CLI::App* compile = cli.add_subcommand("compile", "Show that a component compiles");
  compile->add_option("component", component)->required();
  compile->add_option("-o,--output", output)->required();

  auto with_json = [&](CLI::App* command) {
    command->add_flag("--json", as_json, "The result as JSON");
    return command;
  };
  CLI::App* migrate = with_json(
      with_settings(cli.add_subcommand("migrate", "Bring the schema of the database up to date")));
  CLI::App* audit = cli.add_subcommand("audit", "The audit trail")->require_subcommand(1);
  CLI::App* verify = with_json(with_settings(audit->add_subcommand(
      "verify", "Recompute the chain of the audit trail and check every signature")));
  verify->add_option("--tenant", tenant, "Only this tenant's trail")->check(alga::app::not_empty());
  verify
      ->add_option("--expect", expect,
                   "Heads that an earlier verification named, TENANT:BATCH:CHAIN,…: the trail must "
                   "still lead through them")
      ->check(alga::app::not_empty());
  alga::app::KeysCommand keys(cli,
                              [&](CLI::App* command) { return with_json(with_settings(command)); });
  CLI::App* version = with_json(cli.add_subcommand("version", "Print versions"));
  alga::app::AdminCommand admin(cli);
  cli.footer("Exit status: 0 good, 1 failed, 2 bad use.");

  if (const auto wrong = unknown_command(cli, argc, argv)) {
    std::fprintf(stderr, "%sRun with --help for more information.\n", wrong->c_str());
    return 2;
  }
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 has statuses of its own, 100 and more; ours are few and documented.
    return flushed(cli.exit(error) == 0 ? 0 : 2);
  }
  if (*serve) return alga::app::serve(config_file, flags());
  const auto run = [&] {
    if (*check) return alga::app::check_config(config_file, flags());
    if (*print) return alga::app::print_config(config_file, flags());
    if (*smoke) return alga::app::smoke(component, path);
    if (*inspect) return alga::app::inspect(component, as_json);
    if (*migrate) return alga::app::migrate(config_file, flags(), as_json);
    if (*verify) return alga::app::verify_audit(config_file, flags(), tenant, expect, as_json);
    if (keys.chosen()) return keys.run(config_file, flags(), as_json);
    if (*version) return alga::app::version(as_json);
    if (admin.chosen()) return admin.run();
    if (*compile) return alga::app::compile(component, output);
    return 2;
  };
  return flushed(run());
}
