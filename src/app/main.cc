#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>

#include "app/commands.h"
#include "crypto/process.h"
#include "engine/engine.h"

int main(int argc, char** argv) {
  // The workers confine themselves before anything else happens.
  if (argc == 2 && std::string_view(argv[1]) == "compile-worker") {
    return alga::engine::compile_worker_main();
  }
  if (argc == 2 && std::string_view(argv[1]) == "inspect-worker") {
    return alga::engine::inspect_worker_main();
  }
  if (!alga::crypto::harden_process()) {
    std::fprintf(stderr, "error: core dumps cannot be switched off\n");
    return 1;
  }

  CLI::App cli{"Alga Extension Runtime"};
  cli.require_subcommand(1);
  std::string config_file, component, output, role, data, listen, port_file, token_file;
  std::string path = "/echo";
  std::vector<std::string> sets;
  bool as_json = false;
  bool redacted = false;

  auto with_config = [&](CLI::App* command) {
    command->add_option("--config", config_file, "TOML file");
    command->add_option("--set", sets, "SETTING=VALUE over file and environment");
    command->add_option("--role", role, "all, control-plane, gateway or runner");
    command->add_option("--data", data, "Folder for everything that must outlive a restart");
    command->add_option("--listen", listen, "ADDRESS:PORT of the public listener; port 0: any");
    command->add_option("--port-file", port_file, "File that gets the bound port");
    command->add_option("--bootstrap-token-file", token_file,
                        "File (0600) that gets the first start's token");
    return command;
  };
  auto flags = [&] {
    alga::app::Flags all;
    auto add = [&](const char* setting, const std::string& value) {
      if (!value.empty()) all.emplace_back(setting, value);
    };
    add("server.roles", role);
    add("server.data_dir", data);
    add("server.listen", listen);
    add("server.port_file", port_file);
    add("server.bootstrap_token_file", token_file);
    for (const std::string& text : sets) {
      std::size_t equals = text.find('=');
      all.emplace_back(text.substr(0, equals),
                       equals == std::string::npos ? "" : text.substr(equals + 1));
    }
    return all;
  };

  CLI::App* serve = with_config(cli.add_subcommand("serve", "Run the server"));
  CLI::App* check = with_config(cli.add_subcommand("check-config", "Check the configuration"));
  CLI::App* print = with_config(cli.add_subcommand("print-config", "Print the configuration"));
  print->add_flag("--redacted", redacted, "Without secrets (always so)");
  CLI::App* smoke = cli.add_subcommand("smoke", "Run one component, without a server");
  smoke->add_option("component", component)->required();
  smoke->add_option("--path", path, "Path and query that the handler is asked for");
  CLI::App* inspect = cli.add_subcommand("inspect", "Show what a component needs and offers");
  inspect->add_option("component", component)->required();
  inspect->add_flag("--json", as_json, "Everything, as JSON");
  CLI::App* compile = cli.add_subcommand("compile", "Show that a component compiles");
  compile->add_option("component", component)->required();
  compile->add_option("-o,--output", output)->required();

  CLI11_PARSE(cli, argc, argv);
  if (*serve) return alga::app::serve(config_file, flags());
  if (*check) return alga::app::check_config(config_file, flags());
  if (*print) return alga::app::print_config(config_file, flags());
  if (*smoke) return alga::app::smoke(component, path);
  if (*inspect) return alga::app::inspect(component, as_json);
  if (*compile) return alga::app::compile(component, output);
  return 2;
}
