#include "control_plane/publishing.h"

#include <thread>

#include "base/bytes.h"
#include "control_plane/core.h"
#include "control_plane/staging.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::FakeInspector;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class PublishingContract : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (platform_) token_ = p().publisher("acme");
  }
  Reply publish(const std::string& archive, const std::optional<std::string>& signature = {}) {
    return p().publish(token_, archive, signature);
  }
  static std::string code(const Reply& reply) { return reply.string("/error/code"); }
  static std::string hello(const std::string& version, const object& more = {}) {
    return Platform::bundle(Platform::manifest("hello", version, more));
  }
  static std::string sign(const crypto::SigningKey& key, const std::string& archive) {
    auto signature = key.sign(as_bytes(bundle_signature_text(crypto::sha256_hex(archive))));
    return boost::json::serialize(object{{"algorithm", "ed25519"},
                                         {"key_id", key.public_key().id()},
                                         {"signature", base64_encode(signature)}});
  }
  std::size_t versions() {
    Reply reply = p().call("GET", "/api/v1/extensions", token_);
    std::size_t count = 0;
    for (const auto& extension : reply.at("/extensions").as_array()) {
      count += extension.at("versions").as_array().size();
    }
    return count;
  }
  /// As housekeeping does, by the clock and with the store of this platform.
  std::uint64_t sweep_uploads() {
    Dependencies deps;
    deps.database = &p().database();
    deps.bundles = &p().bundles();
    deps.clock = &p().clock();
    SystemRandom random;
    NoMetrics metrics;
    deps.random = &random;
    deps.metrics = &metrics;
    const Core core(std::move(deps));
    const auto swept = Staging(core).sweep();
    EXPECT_TRUE(swept) << swept.error().code;
    return swept.value_or(0);
  }
  std::string token_;
};

TEST_P(PublishingContract, KeepsWhatItWasGivenUnderItsHash) {
  std::string archive = hello("1.2.3");
  Reply reply = publish(archive);
  ASSERT_EQ(reply.status, 200) << reply.text;
  EXPECT_EQ(reply.string("/contentHash"), "sha256:" + crypto::sha256_hex(archive));
  EXPECT_TRUE(p().bundles().exists(reply.string("/canonicalKey")).value());
  EXPECT_EQ(p().compiler().compiled, 1);
  Reply listed = p().call("GET", "/api/v1/extensions/acme.hello", token_);
  EXPECT_EQ(listed.string("/extension/versions/0/version"), "1.2.3");
  EXPECT_EQ(listed.string("/extension/publisher"), "acme");
}

TEST_P(PublishingContract, NeverChangesAVersion) {
  ASSERT_EQ(publish(hello("1.0.0")).status, 200);
  for (const std::string& archive : {hello("1.0.0"), hello("1.0.0", {{"description", "other"}})}) {
    Reply again = publish(archive);
    EXPECT_EQ(again.status, 409);
    EXPECT_EQ(code(again), "EXTENSION_VERSION_ALREADY_EXISTS");
    EXPECT_EQ(again.at("/success"), false);
  }
  EXPECT_EQ(versions(), 1U);
}

TEST_P(PublishingContract, LetsOneOfManyPublishTheSameVersion) {
  std::atomic<int> published = 0;
  std::atomic<int> conflicts = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Reply reply = publish(hello("2.0.0", {{"description", "from " + std::to_string(i)}}));
      if (reply.status == 200) ++published;
      if (reply.status == 409) ++conflicts;
      EXPECT_TRUE(reply.status == 200 || reply.status == 409) << reply.text;
    });
  }
  threads.clear();
  EXPECT_EQ(published, 1);
  EXPECT_EQ(conflicts, 3);
  EXPECT_EQ(versions(), 1U);
}

TEST_P(PublishingContract, NumbersWildcardVersions) {
  EXPECT_EQ(publish(hello("1.4.*")).string("/version/version"), "1.4.0");
  EXPECT_EQ(publish(hello("1.4.*")).string("/version/version"), "1.4.1");
  EXPECT_EQ(publish(hello("1.5.*")).string("/version/version"), "1.5.0");
}

TEST_P(PublishingContract, ListsEveryFaultOfAManifest) {
  Reply reply = publish(Platform::bundle(
      R"({"name":"hello","version":"one","runtime":"wasm-js@1","capabilities":["cap:fly"]})"));
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(code(reply), "INVALID_MANIFEST");
  EXPECT_EQ(reply.at("/error/issues").as_array().size(), 2U);
}

TEST_P(PublishingContract, RefusesWhatIsNoBundle) {
  using archive::testing::TarBuilder;
  std::string manifest = Platform::manifest("hello", "1.0.0");
  struct Case {
    const char* code;
    std::string archive;
  };
  const Case cases[] = {
      {"INVALID_BUNDLE", "no archive at all"},
      {"MANIFEST_NOT_FOUND", TarBuilder().file("dist/main.wasm").zst()},
      {"COMPONENT_NOT_FOUND", TarBuilder().file("manifest.json", manifest).zst()},
      {"INVALID_BUNDLE", TarBuilder().file("manifest.json", manifest).file("../evil").zst()},
      {"NATIVE_CODE_REFUSED", TarBuilder()
                                  .file("manifest.json", manifest)
                                  .file("dist/main.wasm",
                                        "\x7f"
                                        "ELF…")
                                  .zst()},
      {"NATIVE_CODE_REFUSED", TarBuilder()
                                  .file("manifest.json", manifest)
                                  .file("dist/main.wasm", "x")
                                  .file("precompiled/x.CWASM", "x")
                                  .zst()},
  };
  for (const Case& each : cases) EXPECT_EQ(code(publish(each.archive)), each.code);
  EXPECT_EQ(versions(), 0U);
}

TEST_P(PublishingContract, HoldsComponentsToTheWorld) {
  int patch = 0;
  auto with = [&](auto change) {
    auto report = FakeInspector::good();
    change(report);
    p().inspector().answer(report);
    return publish(hello("9.0." + std::to_string(++patch)));
  };
  Reply unknown = with([](auto& it) { it.imports.push_back("wasi:sockets/tcp@0.2.6"); });
  EXPECT_EQ(code(unknown), "INVALID_COMPONENT");
  EXPECT_TRUE(unknown.string("/error/issues/0/message").contains("wasi:sockets/tcp@0.2.6"));
  EXPECT_EQ(code(with([](auto& it) { it.exports_handler = false; })), "INVALID_COMPONENT");
  EXPECT_EQ(code(with([](auto& it) { it.file_bytes = 1ULL << 40U; })), "INVALID_COMPONENT");
  EXPECT_EQ(code(with([](auto& it) { it.kind = domain::ComponentReport::Kind::core_module; })),
            "COMPONENT_REQUIRED");
  Reply crowded = with([](auto& it) { it.beyond_slots.push_back("5 memories; a slot has 4"); });
  EXPECT_EQ(code(crowded), "INVALID_COMPONENT");
  EXPECT_EQ(crowded.string("/error/issues/0/code"), "component.beyond_slots");
  EXPECT_TRUE(crowded.string("/error/issues/0/message").contains("5 memories; a slot has 4"));
  Reply undeclared = with([](auto& it) { it.imports.push_back("alga:extension/http@1.0.0"); });
  EXPECT_EQ(undeclared.status, 200);
  EXPECT_TRUE(undeclared.text.contains("\"component.undeclared_import\"")) << undeclared.text;
  Reply frozen = with([](auto& it) { it.frozen_clock = true; });
  EXPECT_TRUE(frozen.text.contains("\"component.frozen_clock\"")) << frozen.text;
  Reply strewn = with([](auto& it) { it.sparse_image_bytes = 200U << 20U; });
  EXPECT_EQ(strewn.status, 200);
  EXPECT_TRUE(strewn.text.contains("\"component.sparse_image\"")) << strewn.text;
  p().inspector().answer(fail(Kind::invalid, "component.not_wasm", "text"));
  EXPECT_EQ(code(publish(hello("8.0.0"))), "INVALID_COMPONENT");
  p().inspector().answer(fail(Kind::unavailable, "component.unavailable", "busy"));
  EXPECT_EQ(publish(hello("8.0.0")).status, 503);
}

TEST_P(PublishingContract, PublishesNothingHalfway) {
  std::string archive = hello("1.0.0");
  p().compiler().error = Error{Kind::unavailable, "compile.unavailable", "down"};
  Reply upload =
      p().send("POST", "/api/ext-bundles/upload-proxy?filename=b.tar.zst", token_, archive);
  object request{{"key", upload.string("/upload/key")}};
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/finalize", token_, request).status, 503);
  EXPECT_EQ(versions(), 0U);
  p().compiler().error.reset();
  // The same upload can be finalised once the trouble is over, and only once.
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/finalize", token_, request).status, 200);
  Reply again = p().call("POST", "/api/ext-bundles/finalize", token_, request);
  EXPECT_EQ(code(again), "STAGING_NOT_FOUND");
  p().compiler().error = Error{Kind::invalid, "compile.refused", "no"};
  EXPECT_EQ(code(publish(hello("1.0.1"))), "COMPILE_FAILED");
}

TEST_P(PublishingContract, SweepsWhatAnInterruptedUploadLeft) {
  // A process that is killed, or an answer that is lost: the object is stored, nobody hears of it.
  std::string left;
  p().bundles().after_put = [&](std::string_view key) {
    left = key;
    return fail(Kind::unavailable, "blob.unavailable", "the connection broke");
  };
  EXPECT_EQ(p().send("POST", "/api/ext-bundles/upload-proxy", token_, hello("1.0.0")).status, 503);
  p().bundles().after_put = {};
  ASSERT_TRUE(p().bundles().exists(left).value());
  p().clock().advance(std::chrono::hours{23});
  EXPECT_EQ(sweep_uploads(), 0U);
  p().clock().advance(std::chrono::hours{2});
  EXPECT_EQ(sweep_uploads(), 1U);
  EXPECT_FALSE(p().bundles().exists(left).value());
  EXPECT_EQ(sweep_uploads(), 0U) << "the row is gone, too";
}

TEST_P(PublishingContract, SweepsWhatAnInterruptedFinalizeLeft) {
  std::string left;
  p().bundles().before_remove = [&](std::string_view key) {
    left = key;
    return fail(Kind::unavailable, "blob.unavailable", "the connection broke");
  };
  ASSERT_EQ(publish(hello("1.0.0")).status, 200) << "the version is out";
  p().bundles().before_remove = {};
  ASSERT_TRUE(p().bundles().exists(left).value());
  Reply again = p().call("POST", "/api/ext-bundles/finalize", token_, object{{"key", left}});
  EXPECT_EQ(code(again), "STAGING_NOT_FOUND") << again.text;
  EXPECT_EQ(sweep_uploads(), 1U);
  EXPECT_FALSE(p().bundles().exists(left).value());
}

TEST_P(PublishingContract, FindsNoUploadThatNeverReachedTheStore) {
  Reply upload = p().send("POST", "/api/ext-bundles/upload-proxy", token_, hello("1.0.0"));
  const std::string key = upload.string("/upload/key");
  ASSERT_TRUE(p().bundles().remove(key));
  Reply reply = p().call("POST", "/api/ext-bundles/finalize", token_, object{{"key", key}});
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(code(reply), "STAGING_NOT_FOUND") << reply.text;
  p().clock().advance(std::chrono::hours{25});
  EXPECT_EQ(sweep_uploads(), 1U);
}

TEST_P(PublishingContract, BelievesRegisteredKeysOnly) {
  auto key = crypto::SigningKey::generate();
  std::string unsigned_archive = hello("1.0.0");
  EXPECT_EQ(code(publish(unsigned_archive, sign(key, unsigned_archive))), "SIGNATURE_INVALID");
  Reply added = p().call("POST", "/api/v1/publishers/acme/keys", token_,
                         object{{"public_key", key.public_key().base64()}});
  ASSERT_EQ(added.status, 201) << added.text;
  EXPECT_EQ(code(publish(unsigned_archive)), "SIGNATURE_REQUIRED");
  EXPECT_EQ(code(publish(unsigned_archive, sign(key, hello("1.0.1")))), "SIGNATURE_INVALID");
  EXPECT_EQ(code(publish(unsigned_archive, "nonsense")), "SIGNATURE_INVALID");
  auto other = crypto::SigningKey::generate();
  EXPECT_EQ(code(publish(unsigned_archive, sign(other, unsigned_archive))), "SIGNATURE_INVALID");
  EXPECT_EQ(publish(unsigned_archive, sign(key, unsigned_archive)).status, 200);

  std::string admin = p().admin_of("t1");
  std::string id = install_hello(admin);
  auto config = [&] {
    return p().call("POST", "/internal/runner/install-config", "",
                    object{{"tenantId", "t1"}, {"extensionId", id}},
                    {{"x-runner-auth", "token-of-config"}});
  };
  EXPECT_EQ(config().status, 200);

  // Whoever writes to the database makes no other bundle of it.
  const auto put = [&](const std::string& hash) {
    p().clock().advance(std::chrono::minutes{1});  // longer than an answer is used again
    return p().database().write([&](sql::Executor& sql) -> Status {
      TRY(auto changed,
          sql.execute("UPDATE tenant_extension_install SET content_hash = $1", {hash}));
      EXPECT_EQ(changed, 1U);
      return {};
    });
  };
  ASSERT_TRUE(put(crypto::sha256_hex("another bundle")));
  EXPECT_EQ(config().status, 403);
  ASSERT_TRUE(put(crypto::sha256_hex(unsigned_archive)));
  EXPECT_EQ(config().status, 200);

  EXPECT_EQ(
      p().call("DELETE", "/api/v1/publishers/acme/keys/" + key.public_key().id(), token_).status,
      204);
  EXPECT_EQ(config().status, 403);
  Reply install =
      p().call("POST", "/api/v1/installs", p().admin_of("t2"), object{{"extension", "acme.hello"}});
  EXPECT_EQ(code(install), "extension.untrusted");
}

TEST_P(PublishingContract, LetsNobodyPublishInAnothersName) {
  std::string thief = p().publisher("thief");
  std::string archive = hello("1.0.0", {{"publisher", "acme"}});
  Reply reply = p().publish(thief, archive);
  EXPECT_EQ(reply.status, 403);
  EXPECT_EQ(code(reply), "RBAC_FORBIDDEN");
  EXPECT_EQ(p().publish(p().operator_token(), archive).status, 200);
  Reply upload = p().send("POST", "/api/ext-bundles/upload-proxy", token_, hello("1.0.1"));
  object request{{"key", upload.string("/upload/key")}};
  EXPECT_EQ(code(p().call("POST", "/api/ext-bundles/finalize", thief, request)),
            "STAGING_NOT_FOUND");
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/abort", thief, request).string("/status"), "noop");
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/abort", token_, request).string("/status"),
            "deleted");
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/abort", token_, request).string("/status"), "noop");
  EXPECT_EQ(p().call("GET", "/api/v1/publishers/acme/keys", thief).status, 404);
}

TEST_P(PublishingContract, ComparesDeclaredHashAndSize) {
  std::string archive = hello("1.0.0");
  std::string path = "/api/ext-bundles/upload-proxy?filename=b&declaredHash=";
  EXPECT_EQ(code(p().send("POST", path + std::string(64, '0'), token_, archive)), "HASH_MISMATCH");
  Reply good = p().send("POST", path + "sha256:" + crypto::sha256_hex(archive), token_, archive);
  ASSERT_EQ(good.status, 200) << good.text;
  object request{{"key", good.string("/upload/key")}, {"declaredHash", std::string(64, '0')}};
  EXPECT_EQ(code(p().call("POST", "/api/ext-bundles/finalize", token_, request)), "HASH_MISMATCH");
  EXPECT_EQ(code(p().send("POST", "/api/ext-bundles/upload-proxy?size=1", token_, archive)),
            "SIZE_MISMATCH");
  Reply anonymous = p().send_as({}, "POST", path, archive, "", {{"x-alga-admin", "true"}},
                                testing::Form::malformed);
  EXPECT_EQ(anonymous.status, 401);
}

TEST_P(PublishingContract, ShowsSourceMapsToTheirPublisherOnly) {
  std::string map = R"({"version":3,"sources":["src/index.ts"]})";
  std::string archive = archive::testing::TarBuilder()
                            .file("manifest.json", Platform::manifest("hello", "1.0.0"))
                            .file("dist/main.wasm", "wasm")
                            .file("artifacts/source-map/main.js.map", map)
                            .zst();
  Reply published = publish(archive);
  ASSERT_EQ(published.status, 200) << published.text;
  const std::string base = "/api/v1/extensions/acme.hello/versions/";
  for (const std::string& version : {std::string("1.0.0"), published.string("/version/id")}) {
    EXPECT_EQ(p().call("GET", base + version + "/source-map", token_).text, map);
  }
  EXPECT_EQ(p().call("GET", base + "1.0.0/source-map", p().operator_token()).text, map);
  EXPECT_EQ(p().call("GET", base + "1.0.1/source-map", token_).status, 404);
  EXPECT_EQ(p().call("GET", base + "1.0.0/source-map", p().publisher("thief")).status, 404);
  EXPECT_EQ(p().call("GET", base + "1.0.0/source-map", p().admin_of("t1")).status, 403);
}

TEST_P(PublishingContract, KeepsGrantsNarrowWhenAVersionAsksForMore) {
  object narrow{{"capabilities", {"cap:storage.kv"}}};
  object wide{{"capabilities", {"cap:storage.kv", "cap:http.fetch"}},
              {"egress", {"https://api.example.com"}}};
  publish(hello("1.0.0", narrow));
  std::string admin = p().admin_of("t1");
  std::string id = install_hello(admin, {{"capabilities", {"cap:storage.kv", "cap:http.fetch"}}});
  publish(hello("2.0.0", wide));
  Reply updated =
      p().call("POST", "/api/v1/installs/" + id + "/update", admin, object{{"version", "2.0.0"}});
  ASSERT_EQ(updated.status, 200) << updated.text;
  EXPECT_EQ(updated.at("/capability_difference/withheld"), boost::json::array{"cap:http.fetch"});
  EXPECT_EQ(updated.at("/egress_difference/missing").as_array().size(), 1U);
  auto effective = updated.at("/install/effective").as_array();
  EXPECT_EQ(std::ranges::find(effective, boost::json::value("cap:http.fetch")), effective.end());
  Reply down =
      p().call("POST", "/api/v1/installs/" + id + "/update", admin, object{{"version", "1.0.0"}});
  EXPECT_EQ(down.string("/install/version"), "1.0.0");
}

TEST_P(PublishingContract, KeepsPrivateAddressesForOperators) {
  publish(hello("1.0.0"));
  std::string admin = p().admin_of("t1");
  object request{{"extension", "acme.hello"}, {"egress", {"cidr:127.0.0.1/32:8081"}}};
  Reply refused = p().call("POST", "/api/v1/installs", admin, request);
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(code(refused), "egress.operator_required");
  Reply made =
      p().call("POST", "/api/v1/installs", p().operator_token(), request, {{"x-tenant-id", "t1"}});
  EXPECT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(p().call("POST", "/api/v1/installs", admin, request).status, 403);
  Reply twice = p().call("POST", "/api/v1/installs", admin, object{{"extension", "acme.hello"}});
  EXPECT_EQ(twice.status, 409);
  EXPECT_EQ(code(twice), "install.exists");
}

ALGA_ON_EVERY_DATABASE(PublishingContract);

}  // namespace
}  // namespace alga::control_plane
