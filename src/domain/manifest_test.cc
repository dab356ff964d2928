#include "domain/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace alga::domain {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string explained(const ManifestReport& report) {
  std::string out;
  for (const ManifestIssue& issue : report.issues) {
    out += issue.path + " " + issue.code + ": " + issue.message + "\n";
  }
  return out;
}

/// The smallest manifest with one member replaced; a null removes it.
ManifestReport with(std::string_view member, boost::json::value value) {
  boost::json::object manifest{{"name", "com.example.a"},
                               {"publisher", "p"},
                               {"version", "1.0.0"},
                               {"runtime", "wasm-js@1"}};
  if (value.is_null()) {
    manifest.erase(member);
  } else {
    manifest[member] = std::move(value);
  }
  return validate_manifest(manifest);
}

std::string first_fault(const ManifestReport& report) {
  EXPECT_EQ(report.manifest.has_value(), report.issues.empty());
  return report.issues.empty() ? "" : report.issues[0].code + " " + report.issues[0].path;
}

bool warned(const ManifestReport& report, std::string_view code) {
  return std::ranges::find(report.warnings, code, &ManifestIssue::code) != report.warnings.end();
}

TEST(ManifestCorpus, AcceptsEveryValidOne) {
  std::size_t seen = 0;
  for (const auto& file : fs::directory_iterator(ALGA_SCHEMA_DIR "/corpus/valid")) {
    ManifestReport report = parse_manifest(read(file.path()));
    EXPECT_TRUE(report.manifest) << file.path() << "\n" << explained(report);
    ++seen;
  }
  EXPECT_GE(seen, 10U);
}

TEST(ManifestCorpus, RefusesEveryInvalidOneAtItsPlace) {
  auto paths = json::parse(read(ALGA_SCHEMA_DIR "/corpus/invalid-paths.json"));
  ASSERT_TRUE(paths);
  std::size_t seen = 0;
  for (const auto& file : fs::directory_iterator(ALGA_SCHEMA_DIR "/corpus/invalid")) {
    ManifestReport report = parse_manifest(read(file.path()));
    ASSERT_FALSE(report.issues.empty()) << file.path();
    EXPECT_FALSE(report.manifest);
    const auto* expected = paths->as_object().if_contains(file.path().filename().string());
    ASSERT_NE(expected, nullptr) << file.path();
    EXPECT_EQ(report.issues[0].path, expected->as_string()) << file.path() << explained(report);
    ++seen;
  }
  EXPECT_EQ(seen, paths->as_object().size());
}

TEST(Manifest, KeepsWhatItRead) {
  ManifestReport report = parse_manifest(read(ALGA_SCHEMA_DIR "/corpus/valid/full.json"));
  ASSERT_TRUE(report.manifest) << explained(report);
  const Manifest& manifest = *report.manifest;
  EXPECT_EQ(manifest.name, "com.example.hello");
  EXPECT_EQ(manifest.version.str(), "1.2.3-rc.1+build.5");
  EXPECT_TRUE(manifest.capabilities.contains(Capability::http_fetch));
  EXPECT_EQ(manifest.egress.size(), 2U);
  EXPECT_TRUE(manifest.config.at("region").required);
  EXPECT_FALSE(manifest.secrets.at("optional_key").required);
  EXPECT_EQ(manifest.ui_entry, "ui/index.html");
  EXPECT_EQ(manifest.client_portal_label, "Hello");
  ASSERT_EQ(manifest.endpoints.size(), 2U);
  EXPECT_EQ(manifest.endpoints[1].method, "POST");
  EXPECT_EQ(manifest.endpoints[1].path, "/tickets/:id");
  EXPECT_TRUE(manifest.endpoints_declared);
}

TEST(Manifest, GivesEachFaultItsCode) {
  EXPECT_EQ(first_fault(with("author", "me")), "");
  EXPECT_EQ(first_fault(with("version", nullptr)), "manifest.missing_member /version");
  EXPECT_EQ(first_fault(with("name", 1)), "manifest.wrong_type /name");
  EXPECT_EQ(first_fault(with("version", "1")), "manifest.bad_value /version");
  EXPECT_EQ(first_fault(with("permissions", "x")), "manifest.unknown_member /permissions");
  EXPECT_EQ(first_fault(with("capabilities", {"cap:root"})),
            "manifest.unknown_capability /capabilities/0");
  EXPECT_EQ(first_fault(with("egress", {"example.com"})), "manifest.bad_egress_rule /egress/0");
  boost::json::object endpoint{{"method", "get"}, {"path", "a"}};
  boost::json::object same{{"method", "GET"}, {"path", "/a/"}};
  EXPECT_EQ(first_fault(with("api", {{"endpoints", boost::json::array{endpoint, same}}})),
            "manifest.duplicate_endpoint /api/endpoints/1");
  EXPECT_EQ(first_fault(parse_manifest("{\"name\":\"a\",\"name\":\"b\"}")), "manifest.malformed ");
  EXPECT_EQ(first_fault(parse_manifest(std::string(max_manifest_bytes + 1, ' '))),
            "manifest.malformed ");
}

TEST(Manifest, ReportsAllFaultsAtOnceButNotWithoutBound) {
  ManifestReport report = parse_manifest(R"({"version":"x","runtime":"y","ui":{}})");
  EXPECT_EQ(report.issues.size(), 5U) << explained(report);
  boost::json::array many(5000, boost::json::value(1));
  EXPECT_EQ(with("capabilities", many).issues.size(), 1U);
  boost::json::object strangers;
  for (int i = 0; i < 1000; ++i) strangers["k" + std::to_string(i)] = 1;
  EXPECT_EQ(validate_manifest(strangers).issues.size(), 100U);
}

TEST(Manifest, KeepsStrangeNamesOutOfItsReport) {
  ManifestReport report = with("a\nb", 1);
  ASSERT_EQ(report.issues.size(), 1U);
  EXPECT_EQ(report.issues[0].path, "");
}

TEST(Manifest, WarnsOfWhatHasNoEffect) {
  EXPECT_TRUE(warned(with("publisher", nullptr), "manifest.no_publisher"));
  EXPECT_TRUE(warned(with("author", "a"), "manifest.no_endpoints"));
  EXPECT_TRUE(warned(with("events", boost::json::array{}), "manifest.ignored_member"));
  EXPECT_TRUE(warned(with("precompiled", boost::json::object{}), "manifest.ignored_member"));
  EXPECT_TRUE(warned(with("capabilities", {"client.read"}), "manifest.foreign_capability"));
  EXPECT_TRUE(warned(with("egress", {"https://*.co.uk"}), "manifest.wide_egress"));
  EXPECT_TRUE(warned(with("egress", {"cidr:10.0.0.0/8"}), "manifest.wide_egress"));
  EXPECT_TRUE(warned(with("egress", {"https://a.com"}), "manifest.egress_without_capability"));
  EXPECT_TRUE(warned(with("secrets", {{"k", boost::json::object{}}}),
                     "manifest.secrets_without_capability"));
  EXPECT_FALSE(warned(with("capabilities", {"http.fetch"}), "manifest.foreign_capability"));
}

TEST(Slug, IsPublisherAndNameInLowerCase) {
  EXPECT_EQ(extension_slug("Acme", "Tickets"), "acme.tickets");
  EXPECT_EQ(extension_slug("acme", "com.acme.Tickets"), "acme.com.acme.tickets");
  EXPECT_EQ(extension_slug("@acme", "my ext/a"), "acme.my-ext-a");
  EXPECT_EQ(extension_slug("", ""), "");
  EXPECT_EQ(extension_slug("a.", ".b"), "a.b");
}

}  // namespace
}  // namespace alga::domain
