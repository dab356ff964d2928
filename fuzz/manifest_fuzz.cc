#include "domain/egress_policy.h"
#include "domain/manifest.h"
#include "property.h"

// A manifest exists exactly when there is no issue, and what it asks for is already canonical.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  auto report = domain::parse_manifest(fuzz::text_of(data, size));
  fuzz::must(report.manifest.has_value() == report.issues.empty(),
             "a manifest exactly when there is no issue");
  for (const auto& issue : report.issues) {
    fuzz::must(!issue.code.empty() && !issue.message.empty(), "an issue has a code and a message");
  }
  if (!report.manifest) return 0;
  fuzz::must(!report.manifest->name.empty(), "a manifest has a name");
  fuzz::must(domain::EgressPolicy::parse(report.manifest->egress).has_value(),
             "egress rules are valid");
  for (const auto& endpoint : report.manifest->endpoints) {
    fuzz::must(endpoint.path.starts_with('/'), "paths start with a slash");
  }
  return 0;
}
