#include <chrono>

#include "domain/envelope.h"
#include "json/parse.h"
#include "property.h"

// Reads an envelope from JSON, as the runner does, and tries to open it without any key.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
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
  return 0;
}
