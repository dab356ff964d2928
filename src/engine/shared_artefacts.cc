#include "engine/shared_artefacts.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/bytes.h"

namespace alga::engine {
namespace {

constexpr std::uint64_t most_signature_bytes = 4096;

std::string key_of(const ContentHash& bundle, const std::string& engine, std::string_view suffix) {
  return "artefacts/" + bundle.hex() + "/" + engine + std::string(suffix);
}

Status append(const File& file, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file.fd(), bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return fail(Kind::unavailable, "engine.cache_io", "cannot write an artefact");
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

}  // namespace

SharedArtefacts::SharedArtefacts(Options options, Metrics& metrics, Logger log)
    : options_(options),
      fetched_(metrics.counter("alga_artefacts_shared_total",
                               "Compiled artefacts taken from or put into the bundle store",
                               {{"direction", "fetched"}})),
      published_(metrics.counter("alga_artefacts_shared_total",
                                 "Compiled artefacts taken from or put into the bundle store",
                                 {{"direction", "published"}})),
      failures_(metrics.counter("alga_artefacts_share_failures_total",
                                "Compiled artefacts that the bundle store did not give or take")),
      log_(std::move(log)) {}

Result<std::optional<std::string>> SharedArtefacts::signature(const ContentHash& bundle,
                                                              const std::string& compat) {
  std::string text;
  const Status got =
      options_.store->get(key_of(bundle, fingerprint(compat), ".sig"), most_signature_bytes,
                          [&text](ByteSpan bytes) -> Status {
                            text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                            return {};
                          });
  if (got) return text;
  if (got.error().code == "blob.not_found") return std::nullopt;
  return fail(got.error());
}

Result<std::optional<std::string>> SharedArtefacts::fetch(const ContentHash& bundle,
                                                          const std::string& compat,
                                                          const File& into) {
  auto signature = this->signature(bundle, compat);
  if (signature && !*signature) return std::nullopt;
  Status got;
  if (!signature) {
    got = fail(signature.error());
  } else {
    got = options_.store->get(key_of(bundle, fingerprint(compat), ".cwasm"), options_.max_bytes,
                              [&into](ByteSpan bytes) { return append(into, bytes); });
  }
  if (!got) {
    failures_.add();
    log_.warn("a compiled artefact could not be fetched",
              {{"bundle", bundle.hex()}, {"code", got.error().code}});
    return fail(std::move(got).error());
  }
  fetched_.add();
  return signature;
}

Status SharedArtefacts::publish(const ContentHash& bundle, const std::string& compat,
                                const std::filesystem::path& artefact,
                                const std::filesystem::path& signature) {
  if (!options_.publish) return {};
  Status put =
      options_.store->put_file(key_of(bundle, fingerprint(compat), ".cwasm"), artefact.string());
  if (put)
    put = options_.store->put_file(key_of(bundle, fingerprint(compat), ".sig"), signature.string());
  if (put) {
    published_.add();
    return {};
  }
  failures_.add();
  log_.warn("a compiled artefact could not be shared",
            {{"bundle", bundle.hex()}, {"code", put.error().code}});
  return put;
}

Status SharedArtefacts::discard(const ContentHash& bundle, const std::string& engine) {
  if (!options_.publish) return {};
  for (const std::string_view suffix : {".sig", ".cwasm"}) {
    const Status gone = options_.store->remove(key_of(bundle, engine, suffix));
    if (!gone && gone.error().code != "blob.not_found") return gone;
  }
  return {};
}

}  // namespace alga::engine
