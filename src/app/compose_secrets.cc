#include <utility>
#include <vector>

#include "app/world_parts.h"

namespace alga::app {

Status World::Parts::build_secrets() {
  std::vector<vault::SecretChain::Provider> readers;
  vault::SecretChain::Provider writer;
  fs::path base = path_or("secrets.path", data / "secrets");
  TRY_VOID(private_folder(base));
  for (const std::string& name : config.list("secrets.read_chain")) {
    if (name == "env") {
      readers.push_back(
          std::make_shared<vault::EnvironmentSecrets>(config.text("secrets.env_prefix")));
    } else if (name == "filesystem") {
      readers.push_back(std::make_shared<vault::FileSecrets>(base, random));
    } else {
      return fail(Kind::invalid, "config.unsupported",
                  "secrets.read_chain: the provider `" + name + "` is not wired yet");
    }
  }
  if (config.text("secrets.write_provider") != "filesystem") {
    return fail(Kind::invalid, "config.unsupported",
                "secrets.write_provider: only `filesystem` is wired yet");
  }
  writer = std::make_shared<vault::FileSecrets>(base, random);
  secrets = std::make_shared<vault::SecretChain>(std::move(readers), std::move(writer),
                                                 log.named("secrets"));
  TRY(keys, vault::LocalKeyProvider::open(*secrets));
  TRY(vault::KeyRing ring, vault::load_or_make_key_ring(*secrets, vault::envelope_keys_secret));
  auto sealing = std::make_shared<domain::SealingKeys>();
  for (auto& [id, key] : ring.keys) {
    TRY(crypto::AeadKey copy, crypto::AeadKey::from_bytes(key.reveal()));
    if (id == ring.current) envelope_key = std::make_shared<const crypto::AeadKey>(std::move(key));
    sealing->add(id, std::move(copy));
  }
  envelope_key_id = ring.current;
  sealing_keys = std::move(sealing);
  return {};
}

}  // namespace alga::app
