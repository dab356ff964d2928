#include "runner/static_ui.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <set>
#include <vector>

#include "archive/testing.h"
#include "blob/layout.h"
#include "blob/testing.h"
#include "crypto/digest.h"
#include "httpd/testing_server.h"
#include "runner/ui_rules.h"

namespace alga::runner {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view manifest = R"({"name":"com.example.pages","publisher":"example",)"
                                      R"("version":"1.0.0","runtime":"wasm-js@1",)"
                                      R"("ui":{"type":"iframe","entry":"ui/index.html"}})";
constexpr std::string_view manifest_without_ui =
    R"({"name":"com.example.pages","publisher":"example","version":"1.0.0","runtime":"wasm-js@1"})";

class FakeDirectory final : public domain::InstallDirectory {
 public:
  async::Task<Result<domain::InstalledBundle>> by_host(std::string host) override {
    ++asked;
    if (error) co_return alga::fail(*error);
    if (host != "pages.example.com" || !bundle) {
      co_return alga::fail(Kind::not_found, "install.not_found", "none");
    }
    co_return *bundle;
  }
  async::Task<Result<bool>> is_installed(domain::InstalledBundle wanted) override {
    ++asked;
    if (error) co_return alga::fail(*error);
    co_return tenants.contains(wanted.tenant.str());
  }
  int asked = 0;
  std::optional<Error> error;
  std::optional<domain::InstalledBundle> bundle;
  std::set<std::string> tenants{"t1"};
};

class StaticUiTest : public ::testing::Test {
 protected:
  StaticUiTest()
      : root_(std::filesystem::temp_directory_path() / ("static-ui-" + uuid_v7(clock_, random_))) {
    cache_ = std::move(*blob::BundleCache::open({.root = root_ / "cache"},
                                                {store_, clock_, random_, metrics_, {}}));
    publish(archive::testing::TarBuilder{}
                .file("manifest.json", manifest)
                .file("dist/main.wasm", "component")
                .file("SIGNATURE", "signature")
                .file("ui/index.html", "<p>page</p>")
                .file("ui/app.js", "let plain = 'plain plain plain'")
                .file("ui/app.js.br", "brotli")
                .file("ui/app.js.gz", "gzipped")
                .file("ui/deep/logo.svg", "<svg/>")
                .file("ui/data.blob", std::string(2000, 'x'))
                .zst());
  }
  ~StaticUiTest() override {
    // A thread lets go of a server's loop a moment after it has handed its answer over.
    cache_->close();
    servers_.clear();
    ui_.reset();
    cache_.reset();
    std::filesystem::remove_all(root_);
  }

  void publish(const std::string& archive) {
    hash_ = *ContentHash::parse(crypto::sha256_hex(archive));
    store_.put(blob::bundle_key(*TenantId::parse("t1"), *ExtensionId::parse("e1"), *hash_),
               archive);
    store_.put(blob::shared_bundle_key(*hash_), archive);
    directory_.bundle = {*TenantId::parse("t1"), *ExtensionId::parse("e1"), *hash_};
  }
  void serve(StaticUi::Options options = {}, bool with_directory = true) {
    options.content_policy = *ui_content_policy("", {"https://app.example.com"});
    ui_ = std::make_unique<StaticUi>(
        std::move(options),
        StaticUi::Dependencies{.bundles = cache_.get(),
                               .directory = with_directory ? &directory_ : nullptr,
                               .clock = &clock_,
                               .metrics = &metrics_,
                               .log = {}});
    httpd::Router router;
    ui_->add_routes(router);
    servers_.push_back(std::make_unique<httpd::TestingServer>(std::move(router)));
    server_ = servers_.back().get();
  }
  std::string ask(std::string_view target, std::string_view headers = {},
                  std::string_view method = "GET", std::string_view host = "runner") {
    std::string text(method);
    text.append(" ").append(target).append(" HTTP/1.1\r\nhost: ").append(host);
    text.append("\r\nconnection: close\r\n").append(headers).append("\r\n");
    return httpd::exchange_raw(server_->port(), text);
  }
  std::string page(std::string_view path, std::string_view query = "?tenant=t1") {
    return "/ext-ui/e1/" + hash_->prefixed() + '/' + std::string(path) + std::string(query);
  }

  SystemClock clock_;
  SystemRandom random_;
  NoMetrics metrics_;
  std::filesystem::path root_;
  blob::testing::MemoryBundleStore store_;
  std::unique_ptr<blob::BundleCache> cache_;
  FakeDirectory directory_;
  std::optional<ContentHash> hash_;
  std::unique_ptr<StaticUi> ui_;
  std::vector<std::unique_ptr<httpd::TestingServer>> servers_;  // all until the threads are done
  httpd::TestingServer* server_ = nullptr;
};

TEST_F(StaticUiTest, ServesAPageWithItsPolicyAndAnUnchangingAddress) {
  serve();
  const std::string got = ask(page("index.html"));
  EXPECT_THAT(got, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(got, HasSubstr("content-type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(got, HasSubstr("cache-control: public, max-age=31536000, immutable\r\n"));
  EXPECT_THAT(got, HasSubstr("x-content-type-options: nosniff\r\n"));
  EXPECT_THAT(got, HasSubstr("default-src 'self'; "));
  EXPECT_THAT(got, HasSubstr("; frame-ancestors https://app.example.com\r\n"));
  EXPECT_THAT(got, HasSubstr("etag: \"sha256-" + crypto::sha256_hex("<p>page</p>") + "\"\r\n"));
  EXPECT_THAT(got, HasSubstr("\r\n\r\n<p>page</p>"));
}

TEST_F(StaticUiTest, GivesAScriptNoPolicyOfDocuments) {
  serve();
  const std::string got = ask(page("app.js"));
  EXPECT_THAT(got, HasSubstr("content-type: text/javascript; charset=utf-8\r\n"));
  EXPECT_THAT(got, Not(HasSubstr("content-security-policy")));
  EXPECT_THAT(ask(page("deep/logo.svg")), HasSubstr("content-security-policy"));
}

TEST_F(StaticUiTest, AnswersConditionsRangesAndHead) {
  serve();
  const std::string etag = "\"sha256-" + crypto::sha256_hex("<p>page</p>") + '"';
  const std::string unchanged = ask(page("index.html"), "if-none-match: W/\"a\", " + etag + "\r\n");
  EXPECT_THAT(unchanged, StartsWith("HTTP/1.1 304 "));
  EXPECT_THAT(unchanged, HasSubstr("etag: " + etag));
  EXPECT_THAT(unchanged, HasSubstr("content-security-policy"));
  const std::string part = ask(page("index.html"), "range: bytes=3-6\r\n");
  EXPECT_THAT(part, StartsWith("HTTP/1.1 206 "));
  EXPECT_THAT(part, HasSubstr("content-range: bytes 3-6/11\r\n"));
  EXPECT_THAT(part, HasSubstr("\r\n\r\npage"));
  EXPECT_THAT(ask(page("index.html"), "range: bytes=99-\r\n"), StartsWith("HTTP/1.1 416 "));
  const std::string head = ask(page("index.html"), {}, "HEAD");
  EXPECT_THAT(head, HasSubstr("content-length: 11\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("page</p>")));
}

TEST_F(StaticUiTest, SendsThePackedTwinToWhoTakesIt) {
  serve();
  const std::string brotli = ask(page("app.js"), "accept-encoding: gzip, br\r\n");
  EXPECT_THAT(brotli, HasSubstr("content-encoding: br\r\n"));
  EXPECT_THAT(brotli, HasSubstr("vary: accept-encoding\r\n"));
  EXPECT_THAT(brotli, HasSubstr("content-type: text/javascript; charset=utf-8\r\n"));
  EXPECT_THAT(brotli, HasSubstr("\r\n\r\nbrotli"));
  EXPECT_THAT(brotli, HasSubstr(crypto::sha256_hex("brotli")));
  EXPECT_THAT(ask(page("app.js"), "accept-encoding: gzip, br;q=0\r\n"),
              HasSubstr("\r\n\r\ngzipped"));
  const std::string plain = ask(page("app.js"), "accept-encoding: identity\r\n");
  EXPECT_THAT(plain, HasSubstr("vary: accept-encoding\r\n"));
  EXPECT_THAT(plain, Not(HasSubstr("content-encoding")));
}

TEST_F(StaticUiTest, GivesTheFirstPageToNavigationsOnly) {
  serve();
  for (const std::string_view path : {"", "tickets", "tickets/7", "gone.html"}) {
    EXPECT_THAT(ask(page(path)), HasSubstr("<p>page</p>")) << path;
  }
  EXPECT_THAT(ask(page("tickets"), "sec-fetch-mode: navigate\r\n"), HasSubstr("<p>page</p>"));
  EXPECT_THAT(ask(page("tickets"), "sec-fetch-mode: cors\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(page("tickets"), "accept: application/json\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(page("gone.js")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(page("gone.png"), "sec-fetch-mode: navigate\r\n"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, NeverLeavesTheFolderOfThePages) {
  serve();
  for (const std::string_view path :
       {"../manifest.json", "%2e%2e/manifest.json", "..%2fmanifest.json", "%2e%2e%2fdist/main.wasm",
        "a/../../SIGNATURE", "..%5cmanifest.json", "a%00.html", ".ready", "deep/.git", "a./b"}) {
    const std::string got = ask(page(path));
    EXPECT_THAT(got, StartsWith("HTTP/1.1 400 ")) << path;
    EXPECT_THAT(got, Not(HasSubstr("wasm-js"))) << path;
  }
  for (const std::string_view path :
       {"manifest.json", "dist/main.wasm", "SIGNATURE", "ui/app.js"}) {
    const std::string got = ask(page(path), "sec-fetch-mode: navigate\r\n");
    EXPECT_THAT(got, Not(HasSubstr("component"))) << path;
    EXPECT_THAT(got, Not(HasSubstr("signature"))) << path;
    EXPECT_THAT(got, Not(HasSubstr("wasm-js"))) << path;
  }
  EXPECT_THAT(ask(page("//deep//logo.svg")), HasSubstr("<svg/>"));
}

TEST_F(StaticUiTest, RefusesAnythingThatIsNoHash) {
  serve();
  for (const std::string_view hash : {"sha256:zz", "sha256:", "sha256:00", "latest"}) {
    const std::string got = ask("/ext-ui/e1/" + std::string(hash) + "/index.html?tenant=t1");
    EXPECT_THAT(got, StartsWith("HTTP/1.1 400 ")) << hash;
    EXPECT_THAT(got, HasSubstr("invalid content hash")) << hash;
  }
}

TEST_F(StaticUiTest, AsksTheDirectoryOnceAndShowsOthersNothing) {
  serve();
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(page("app.js")), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(directory_.asked, 1);
  EXPECT_THAT(ask(page("index.html", "?tenant=t2")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(page("index.html", "?tenant=../t1")), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, FindsTheTenantOfTheFilesOfAPage) {
  serve();
  EXPECT_THAT(ask(page("app.js", "")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(page("app.js", ""), {}, "GET", "pages.example.com:8080"),
              StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(page("app.js", "")), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(page("app.js", ""), "x-tenant-id: t2\r\n"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, StopsShowingWhatIsNoLongerInstalled) {
  serve({.valid_life = std::chrono::milliseconds{0}});
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 200 "));
  directory_.tenants.clear();
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, FailsClosedWithoutADirectoryAndForgetsTheFailure) {
  directory_.error = Error{Kind::unavailable, "install.unavailable", "down", 1};
  serve();
  const std::string got = ask(page("index.html"));
  EXPECT_THAT(got, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(got, HasSubstr("retry-after: 1\r\n"));
  directory_.error.reset();
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 200 "));
}

TEST_F(StaticUiTest, WithoutStrictnessTheStoreSaysWhoMayHaveABundle) {
  serve({.strict = false}, false);
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(page("index.html", "?tenant=t2")), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, RefusesFilesThatAreTooLarge) {
  serve({.max_file_bytes = 1000});
  const std::string got = ask(page("data.blob"));
  EXPECT_THAT(got, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(got, HasSubstr("asset too large"));
  EXPECT_THAT(got, HasSubstr("ui.file_too_large"));
}

TEST_F(StaticUiTest, TellsADamagedBundleFromAMissingOne) {
  serve();
  const std::string archive = archive::testing::TarBuilder{}.file("ui/index.html", "x").zst();
  hash_ = *ContentHash::parse(crypto::sha256_hex(archive));
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 404 "));
  store_.put(blob::shared_bundle_key(*hash_), archive + "tampered");
  const std::string got = ask(page("index.html"));
  EXPECT_THAT(got, StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(got, HasSubstr("archive_hash_mismatch"));
}

TEST_F(StaticUiTest, ShowsNothingOfAnExtensionWithoutUi) {
  publish(archive::testing::TarBuilder{}
              .file("manifest.json", manifest_without_ui)
              .file("ui/index.html", "x")
              .zst());
  serve();
  EXPECT_THAT(ask(page("index.html")), StartsWith("HTTP/1.1 404 "));
}

TEST_F(StaticUiTest, SendsAHostToItsPagesWithItsQuery) {
  serve();
  const std::string got =
      ask("/?parentOrigin=https%3A%2F%2Fapp&tenant=evil&x=1", {}, "GET", "Pages.Example.com:80");
  EXPECT_THAT(got, StartsWith("HTTP/1.1 307 "));
  EXPECT_THAT(got, HasSubstr("location: /ext-ui/e1/" + hash_->prefixed() +
                             "/index.html?tenant=t1&extensionId=e1&parentOrigin=https%3A%2F%2Fapp"
                             "&x=1\r\n"));
  EXPECT_THAT(got, HasSubstr("cache-control: no-store\r\n"));
  EXPECT_THAT(ask("/", {}, "GET", "other.example.com"), HasSubstr("ui.not_found"));
  EXPECT_THAT(ask("/", {}, "GET", "p\xc3\xa4ges"), HasSubstr("ui.invalid_host"));
  directory_.error = Error{Kind::unavailable, "install.unavailable", "down", 1};
  EXPECT_THAT(ask("/", {}, "GET", "pages.example.com"), StartsWith("HTTP/1.1 502 "));
}

TEST(UiRules, ReadWeightsOfCodings) {
  EXPECT_TRUE(accepts_coding("gzip", "gzip"));
  EXPECT_TRUE(accepts_coding("deflate, GZip;q=0.1", "gzip"));
  EXPECT_FALSE(accepts_coding("gzip;q=0", "gzip"));
  EXPECT_FALSE(accepts_coding("gzip;q=0.000, *", "gzip"));
  EXPECT_TRUE(accepts_coding("*", "br"));
  EXPECT_FALSE(accepts_coding("*;q=0", "br"));
  EXPECT_FALSE(accepts_coding("gzip;q=x", "gzip"));
  EXPECT_FALSE(accepts_coding("", "gzip"));
}

TEST(UiRules, LetNoSettingBreakOutOfThePolicy) {
  EXPECT_FALSE(ui_content_policy("", {"https://a.example; script-src *"}));
  EXPECT_FALSE(ui_content_policy("", {"a,b"}));
  EXPECT_FALSE(ui_content_policy("default-src 'none'\r\nx: y", {}));
  EXPECT_EQ(*ui_content_policy("default-src 'none'", {"https://a"}), "default-src 'none'");
  EXPECT_THAT(*ui_content_policy("", {}), HasSubstr("; frame-ancestors 'self'"));
}

TEST(UiRules, KnowNamesOfHosts) {
  EXPECT_EQ(ui_host("A.Example.COM.:443"), "a.example.com");
  EXPECT_EQ(ui_host(""), std::nullopt);
  EXPECT_EQ(ui_host("[::1]:80"), std::nullopt);
  EXPECT_EQ(ui_host("a..b"), std::nullopt);
  EXPECT_EQ(ui_host("a/b"), std::nullopt);
  EXPECT_EQ(ui_host("a&host=b"), std::nullopt);
}

}  // namespace
}  // namespace alga::runner
