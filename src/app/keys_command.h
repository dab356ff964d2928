#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "app/commands.h"

namespace alga::app {

/// `algad keys …`: exchanges keys of an installation, on its database and secret store.
class KeysCommand {
 public:
  /// Adds `keys` and everything below it to `cli`, and to each command the options that
  /// `with_settings` adds. Both `cli` and this outlive the parse.
  KeysCommand(CLI::App& cli, const std::function<CLI::App*(CLI::App*)>& with_settings);
  KeysCommand(const KeysCommand&) = delete;
  KeysCommand& operator=(const KeysCommand&) = delete;

  [[nodiscard]] bool chosen() const;
  /// Does what was asked and returns the exit status: 0 good, 1 failed, 2 bad configuration.
  [[nodiscard]] int run(const std::string& config_file, const Flags& flags, bool as_json) const;

 private:
  void add_envelopes(CLI::App& envelopes);
  void add_artefacts(CLI::App& artefacts);
  [[nodiscard]] EnvelopeKeyStep envelope_step() const;
  [[nodiscard]] ArtefactKeyStep artefact_step() const;

  CLI::App* keys_;
  CLI::App* rotate_;
  CLI::App* envelopes_;
  CLI::App* artefacts_;
  std::string used_envelope_key_;
  std::string used_artefact_key_;
  bool rotate_envelopes_ = false;
  bool prepare_envelopes_ = false;
  bool retire_envelopes_ = false;
  bool rotate_artefacts_ = false;
  bool prepare_artefacts_ = false;
};

}  // namespace alga::app
