#include <chrono>

#include "base/bytes.h"
#include "domain/envelope.h"
#include "json/parse.h"
#include "property.h"

namespace {

using namespace alga;

/// One key, `k`; fuzz/seeds/envelope/opens is sealed with it.
const domain::SealingKeys& known_keys() {
  static const domain::SealingKeys keys = [] {
    domain::SealingKeys made;
    made.add("k", *crypto::AeadKey::from_bytes(as_bytes("a key that every fuzzer may know")));
    return made;
  }();
  return keys;
}

/// `now` and `binding` are those of the seed.
void open_with_known_key(const domain::SecretEnvelope& envelope, WallTime now) {
  static const domain::EnvelopeBinding binding{.tenant = *TenantId::parse("acme"),
                                               .install = *InstallId::parse("install")};
  static const domain::EnvelopeBinding other{.tenant = *TenantId::parse("acme"),
                                             .install = *InstallId::parse("another")};
  const auto opened = domain::open_sealed(envelope, binding, known_keys(), now);
  if (!opened) {
    fuzz::must(!opened.error().code.empty(), "a refusal has a code");
    return;
  }
  fuzz::must(!domain::open_sealed(envelope, other, known_keys(), now).has_value(),
             "what is sealed for an install opens for no other");
  fuzz::must(!domain::open_sealed(envelope, binding, {}, now).has_value(), "nor without its key");
  domain::SecretEnvelope later = envelope;
  later.version = *envelope.version + "0";
  fuzz::must(!domain::open_sealed(later, binding, known_keys(), now).has_value(),
             "nor as another version");
}

}  // namespace

// Reads an envelope from JSON, as the runner does, and tries to open it: sealed ones with a key
// that is known here, others without any.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto [header, text] = fuzz::two_texts(data, size);
  auto value = json::parse(text);
  if (!value) return 0;
  auto envelope = domain::envelope_from_json(*value);
  if (!envelope) return 0;
  auto again = domain::envelope_from_json(domain::envelope_to_json(*envelope));
  fuzz::must(again.has_value(), "an envelope survives its own JSON");
  fuzz::must(domain::envelope_digest(*again) == domain::envelope_digest(*envelope),
             "and keeps its digest");
  fuzz::must(
      domain::check_envelope_header(*envelope, domain::envelope_header(*envelope)).has_value(),
      "an envelope agrees with its own header");
  (void)domain::check_envelope_header(*envelope, header);
  const WallTime now{std::chrono::seconds{1'800'000'000}};
  domain::EnvelopePolicy strict;
  auto algorithm = domain::check_envelope(*envelope, now, strict);
  fuzz::must(!algorithm || *algorithm != domain::EnvelopeAlgorithm::inline_base64,
             "unprotected secrets are refused unless allowed");
  fuzz::must(!domain::open_inline(*envelope, now, strict).has_value(), "and are not opened");
  domain::EnvelopePolicy lenient{.allow_inline = true};
  (void)domain::open_inline(*envelope, now, lenient);
  open_with_known_key(*envelope, now);
  return 0;
}
