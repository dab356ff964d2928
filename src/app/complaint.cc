#include "app/complaint.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace alga::app {
namespace {

struct Advice {
  std::string_view code;
  std::string_view text;
};

constexpr std::array advices{
    Advice{"blob.bucket_missing", "make the bucket, or correct bundles.s3.bucket"},
    Advice{"blob.cache_locked",
           "end the other process, or give this one a folder of its own (--data)"},
    Advice{"blob.denied",
           "check bundles.s3.access_key and secret_key, and what they may do with the bucket"},
    Advice{"blob.unavailable", "check that the bundle store runs and that its address is right"},
    Advice{"config.file_unreadable",
           "check the path, and that the user that algad runs as may read the file"},
    Advice{"config.folder",
           "give the folder to the user that algad runs as (chown), or name another one (--data)"},
    Advice{"config.missing",
           "set it in the configuration; docs/configuration.md has every setting"},
    Advice{"config.secret_unreadable",
           "put the secret where the setting says; the user that algad runs as must be able to "
           "read it"},
    Advice{"http.listen_failed",
           "`ss -ltnp` shows who listens there; ports below 1024 need CAP_NET_BIND_SERVICE; port 0 "
           "takes any free one"},
    Advice{"keys.malformed",
           "put the file back from the backup; deleting it loses every secret that it opens"},
    Advice{
        "keys.unknown_key",
        "with --use, name a key that --prepare has printed; else database and keys do not belong "
        "together: put back the keys (secrets folder or Vault) of the same backup as the database"},
    Advice{"sql.corrupt",
           "check that the path names a database of algad; if it does, restore the backup"},
    Advice{"sql.denied",
           "grant the right to the user of database.url; docs/operations/README.md lists what each "
           "role needs"},
    Advice{"sql.disk_full", "free space where the database lives"},
    Advice{"sql.invalid_address", "database.url reads postgres://user@host:port/name, or is empty"},
    Advice{"sql.schema_too_new",
           "run the newer program that migrated this database, or restore the backup from before "
           "the upgrade"},
    Advice{"sql.schema_too_old",
           "start the new control plane first, or run `algad migrate` with its configuration"},
    Advice{"sql.unavailable",
           "check database.url, database.password and that the server runs (psql with the same "
           "address says more); with SQLite, the owner of the file"},
    Advice{"tls.bad_files",
           "check the files that the settings under [tls] name: PEM, not encrypted, and readable "
           "for the user that algad runs as"},
    Advice{"vault.bad_request",
           "check vault.login, vault.role and the credential that goes with it"},
    Advice{"vault.denied",
           "the token is not valid, or its policy does not allow this: deploy/vault/setup writes "
           "the policies"},
    Advice{
        "vault.io",
        "check owner, mode and free space of the secrets folder; no key was made in place of one "
        "that could not be read"},
    Advice{"vault.no_token", "check vault.token, or the credential that vault.login needs"},
    Advice{"vault.read_only",
           "name the provider of secrets.write_provider in secrets.read_chain too, or put the "
           "secret there by hand"},
    Advice{"vault.sealed", "unseal Vault and start again"},
    Advice{"vault.unavailable", "check vault.address, tls.ca and that Vault runs"},
};

}  // namespace

std::string_view advice_for(std::string_view code) {
  const auto* found = std::ranges::find(advices, code, &Advice::code);
  return found == advices.end() ? std::string_view{} : found->text;
}

int complain(const Error& error) {
  std::fprintf(stderr, "error: %s: %s\n", std::string(error.code).c_str(), error.message.c_str());
  if (std::string_view advice = advice_for(error.code); !advice.empty()) {
    std::fprintf(stderr, "what to do: %s\n", std::string(advice).c_str());
  }
  return 1;
}

}  // namespace alga::app
