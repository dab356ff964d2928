// No body is read of somebody who may not call the route: over a real server.

#include <filesystem>

#include "control_plane/testing.h"
#include "httpd/testing_server.h"

namespace alga::control_plane {
namespace {

using testing::OnPlatform;

class Admission : public OnPlatform {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ =
        std::make_unique<testing::Platform>(std::move(database_), nullptr, nullptr,
                                            [this](Dependencies& deps) { deps.metrics = &hits_; });
    httpd::Router router;
    p().plane().add_routes(router);
    routes_ = router.routes();
    server_ = std::make_unique<httpd::TestingServer>(std::move(router));
  }
  void TearDown() override {
    server_.reset();
    platform_.reset();
  }

  /// Announces a large body, sends its beginning and nothing more; what comes back.
  std::string begin(const std::string& method, const std::string& path,
                    const std::string& fields = "") {
    httpd::RawClient client(server_->port());
    client.send(method + " " + path + " HTTP/1.1\r\nHost: a\r\n" + fields +
                "Content-Length: 4000\r\n\r\n{\"a\":");
    return client.read_response();
  }
  static std::string status_of(const std::string& answer) {
    return answer.size() < 12 ? "no answer" : answer.substr(9, 3);
  }
  /// The pattern with a name in place of each parameter.
  static std::string path_of(const std::string& pattern) {
    std::string path;
    bool in_name = false;
    for (char c : pattern) {
      if (c == '{') path += "x1";
      in_name = c == '{' || (in_name && c != '}');
      if (!in_name && c != '}') path += c;
    }
    return path;
  }

  testing::LimitHits hits_;
  std::vector<std::pair<std::string, std::string>> routes_;
  std::unique_ptr<httpd::TestingServer> server_;
};

TEST_P(Admission, ComesBeforeTheBodyOnEveryRoute) {
  int asked = 0;
  for (const auto& [method, pattern] : routes_) {
    const std::string answer = begin(method, path_of(pattern));
    if (pattern == "/api/v1/openapi.json") {  // for everybody, and takes no body
      EXPECT_EQ(status_of(answer), "413") << answer;
      continue;
    }
    EXPECT_EQ(status_of(answer), "401") << method << " " << pattern << "\n" << answer;
    ++asked;
  }
  EXPECT_GT(asked, 50);
}

TEST_P(Admission, SpoolsNothingOfAStranger) {
  const std::string upload = "/api/ext-bundles/upload-proxy?filename=b.tar.zst";
  for (const std::string& fields :
       {std::string(), std::string("Authorization: Bearer alga_x1_nothing\r\n"),
        "Authorization: Bearer " + p().admin_of("t1") + "\r\n"}) {
    httpd::RawClient client(server_->port());
    client.send("POST " + upload + " HTTP/1.1\r\nHost: a\r\n" + fields +
                "Transfer-Encoding: chunked\r\n\r\n400\r\n" + std::string(1'000, 'a'));
    const std::string answer = client.read_response();
    EXPECT_EQ(status_of(answer), fields.contains("nothing") || fields.empty() ? "401" : "403")
        << answer;
    EXPECT_TRUE(answer.contains("\"success\":false")) << "in the words of the route: " << answer;
    EXPECT_TRUE(std::filesystem::is_empty(server_->spool_folder()));
  }
  // Whoever may publish is waited for.
  const std::string archive = testing::Platform::bundle(testing::Platform::manifest("a", "1.0.0"));
  const std::string answer = httpd::exchange_raw(
      server_->port(), "POST " + upload + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
                           "Authorization: Bearer " + p().publisher("acme") + "\r\n" +
                           "Content-Length: " + std::to_string(archive.size()) + "\r\n\r\n" +
                           archive);
  EXPECT_EQ(status_of(answer), "200") << answer;
}

TEST_P(Admission, CountsArchivesThatAreTooLargeOfThoseWhoMayPublish) {
  const auto announce = [&](const std::string& token) {
    httpd::RawClient client(server_->port());
    client.send(
        "POST /api/ext-bundles/upload-proxy?filename=b.tar.zst HTTP/1.1\r\nHost: a\r\n"
        "Authorization: Bearer " +
        token + "\r\nContent-Length: " + std::to_string((64U << 20U) + 1) + "\r\n\r\n");
    return status_of(client.read_response());
  };
  EXPECT_EQ(announce("alga_x1_nothing"), "401");
  EXPECT_EQ(announce(p().admin_of("t1")), "403");
  EXPECT_EQ(hits_.text(), "");
  EXPECT_EQ(announce(p().publisher("acme")), "413");
  EXPECT_EQ(hits_.text(), "bundle_archive 1");
}

TEST_P(Admission, LetsRunnersAndGatewaysSendTheirBodies) {
  const auto send = [&](const std::string& path, const std::string& fields) {
    return httpd::exchange_raw(
        server_->port(), "POST " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields +
                             "Content-Length: 2\r\n\r\n{}");
  };
  const std::string storage = "/api/internal/ext-storage/install/x1";
  EXPECT_EQ(status_of(send(storage, "X-Runner-Auth: token-of-storage\r\n")), "403")
      << "the token is good, and there is no such install";
  EXPECT_EQ(status_of(send(storage, "X-Runner-Auth: token-of-config\r\n")), "401");
  EXPECT_EQ(status_of(send(storage, "X-Alga-Grant: nonsense\r\n")), "401");
  EXPECT_EQ(
      status_of(send("/internal/runner/install-config", "X-Runner-Auth: token-of-config\r\n")),
      "400");
}

ALGA_ON_EVERY_DATABASE(Admission);

}  // namespace
}  // namespace alga::control_plane
