#include "app/keys_command.h"

#include "app/option_checks.h"

namespace alga::app {

KeysCommand::KeysCommand(CLI::App& cli, const std::function<CLI::App*(CLI::App*)>& with_settings)
    : keys_(cli.add_subcommand("keys", "The keys of this installation")->require_subcommand(1)),
      rotate_(with_settings(keys_->add_subcommand(
          "rotate", "Make a new wrapping key and wrap data keys and signing keys again"))),
      envelopes_(with_settings(keys_->add_subcommand(
          "envelopes", "The keys of sealed:v1 envelopes, in which secrets travel to runners"))),
      artefacts_(with_settings(keys_->add_subcommand(
          "artefacts",
          "Print the public half of the key that signs compiled code: what runners are to "
          "believe"))) {
  add_envelopes(*envelopes_);
  add_artefacts(*artefacts_);
}

void KeysCommand::add_envelopes(CLI::App& envelopes) {
  CLI::App* step = envelopes.add_option_group("step")->require_option(1);
  step->add_flag("--rotate", rotate_envelopes_,
                 "Make a new key and seal with it at once: where runners read the same ring");
  step->add_flag("--prepare", prepare_envelopes_,
                 "Make a new key that only opens, to bring the ring to every runner first");
  step->add_option("--use", used_envelope_key_, "Seal with this prepared key from now on")
      ->check(not_empty());
  step->add_flag("--retire", retire_envelopes_, "Take out every key but the current one");
}

void KeysCommand::add_artefacts(CLI::App& artefacts) {
  CLI::App* step = artefacts.add_option_group("step")->require_option(0, 1);
  step->add_flag("--rotate", rotate_artefacts_,
                 "Make a new key; control planes sign with it from their next start");
  step->add_flag("--prepare", prepare_artefacts_,
                 "Make a new key that nobody signs with, to tell the runners first");
  step->add_option("--use", used_artefact_key_,
                   "Sign with the prepared key of this public half; control planes do from their "
                   "next start")
      ->check(not_empty());
}

bool KeysCommand::chosen() const { return static_cast<bool>(*keys_); }

EnvelopeKeyStep KeysCommand::envelope_step() const {
  if (rotate_envelopes_) return EnvelopeKeyStep::rotate;
  if (prepare_envelopes_) return EnvelopeKeyStep::prepare;
  return retire_envelopes_ ? EnvelopeKeyStep::retire : EnvelopeKeyStep::use;
}

ArtefactKeyStep KeysCommand::artefact_step() const {
  if (rotate_artefacts_) return ArtefactKeyStep::rotate;
  if (prepare_artefacts_) return ArtefactKeyStep::prepare;
  return used_artefact_key_.empty() ? ArtefactKeyStep::tell : ArtefactKeyStep::use;
}

int KeysCommand::run(const std::string& config_file, const Flags& flags, bool as_json) const {
  if (*rotate_) return rotate_keys(config_file, flags, as_json);
  if (*artefacts_) {
    return change_artefact_key(config_file, flags, artefact_step(), used_artefact_key_, as_json);
  }
  return change_envelope_keys(config_file, flags, envelope_step(), used_envelope_key_, as_json);
}

}  // namespace alga::app
