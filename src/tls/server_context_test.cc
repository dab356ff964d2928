#include "tls/server_context.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "base/testing_folder.h"
#include "tls/testing_authority.h"

namespace alga::tls {
namespace {

class ServerContextTest : public ::testing::Test {
 protected:
  ServerFiles files(const TestingIdentity& identity) {
    return {.certificate_chain = folder_.put("cert.pem", identity.certificate),
            .private_key = folder_.put("key.pem", identity.private_key)};
  }

  alga::testing::TestingFolder folder_;
  TestingAuthority authority_;
};

/// Runs both ends of a handshake in memory; the client uses `client` (may be null: no certificate).
struct Handshake {
  Handshake(ServerContext& server_context, const TestingAuthority& authority,
            const TestingIdentity* client, int max_version = TLS1_3_VERSION) {
    namespace ssl = boost::asio::ssl;
    ssl::context client_context(ssl::context::tls_client);
    client_context.add_certificate_authority(boost::asio::buffer(authority.certificate()));
    client_context.set_verify_mode(ssl::verify_peer);
    SSL_CTX_set_max_proto_version(client_context.native_handle(), max_version);
    if (client != nullptr) {
      client_context.use_certificate_chain(boost::asio::buffer(client->certificate));
      client_context.use_private_key(boost::asio::buffer(client->private_key), ssl::context::pem);
    }
    context = server_context.current();
    server.reset(SSL_new(context->native_handle()));
    near.reset(SSL_new(client_context.native_handle()));
    BIO* a = nullptr;
    BIO* b = nullptr;
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(server.get(), a, a);
    SSL_set_bio(near.get(), b, b);
    SSL_set_accept_state(server.get());
    SSL_set_connect_state(near.get());
    for (int i = 0; i < 20; ++i) {
      SSL_do_handshake(near.get());
      SSL_do_handshake(server.get());
    }
    done = SSL_is_init_finished(server.get()) == 1 && SSL_is_init_finished(near.get()) == 1;
  }
  std::shared_ptr<boost::asio::ssl::context> context;
  std::unique_ptr<SSL, decltype(&SSL_free)> server{nullptr, &SSL_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> near{nullptr, &SSL_free};
  bool done = false;
};

TEST_F(ServerContextTest, ShakesHandsFromTls12On) {
  auto context = ServerContext::load(files(authority_.issue({"DNS:a.test"}))).value();
  EXPECT_TRUE(Handshake(*context, authority_, nullptr).done);
  EXPECT_TRUE(Handshake(*context, authority_, nullptr, TLS1_2_VERSION).done);
  EXPECT_FALSE(Handshake(*context, authority_, nullptr, TLS1_1_VERSION).done);
}

TEST_F(ServerContextTest, TellsTheNamesOfAClientCertificate) {
  ServerFiles mutual = files(authority_.issue({"DNS:a.test"}));
  mutual.client_authorities = folder_.put("ca.pem", authority_.certificate());
  mutual.require_client_certificate = true;
  auto context = ServerContext::load(mutual).value();
  TestingIdentity runner = authority_.issue({"URI:spiffe://alga/runner", "DNS:runner.test"});

  Handshake with(*context, authority_, &runner);
  ASSERT_TRUE(with.done);
  auto peer = peer_certificate(with.server.get());
  ASSERT_TRUE(peer.has_value());
  EXPECT_EQ(peer->names, (std::vector<std::string>{"spiffe://alga/runner", "runner.test"}));
  EXPECT_EQ(peer->sha256.size(), 64U);

  EXPECT_FALSE(Handshake(*context, authority_, nullptr, TLS1_2_VERSION).done);
}

TEST_F(ServerContextTest, RefusesCertificatesOfStrangersAndExpiredOnes) {
  ServerFiles mutual = files(authority_.issue({"DNS:a.test"}));
  mutual.client_authorities = folder_.put("ca.pem", authority_.certificate());
  auto context = ServerContext::load(mutual).value();
  TestingAuthority stranger;
  TestingIdentity foreign = stranger.issue({"DNS:runner.test"});
  TestingIdentity expired = authority_.issue_expired({"DNS:runner.test"});
  EXPECT_FALSE(Handshake(*context, authority_, &foreign, TLS1_2_VERSION).done);
  EXPECT_FALSE(Handshake(*context, authority_, &expired, TLS1_2_VERSION).done);
  Handshake without(*context, authority_, nullptr);
  EXPECT_TRUE(without.done);
  EXPECT_FALSE(peer_certificate(without.server.get()).has_value());
}

TEST_F(ServerContextTest, ReloadsChangedFilesAndKeepsTheOldOnesOnErrors) {
  auto context = ServerContext::load(files(authority_.issue({"DNS:a.test"}))).value();
  auto first = context->current();
  EXPECT_FALSE(context->reload_if_changed().value());

  TestingIdentity next = authority_.issue({"DNS:b.test"});
  folder_.put("cert.pem", next.certificate);  // the key does not fit yet
  EXPECT_EQ(context->reload_if_changed().error().code, "tls.bad_files");
  EXPECT_EQ(context->current(), first);

  folder_.put("key.pem", next.private_key);
  EXPECT_TRUE(context->reload_if_changed().value());
  EXPECT_NE(context->current(), first);
}

TEST_F(ServerContextTest, RefusesMissingFilesAndContradictions) {
  EXPECT_FALSE(ServerContext::load({.certificate_chain = folder_.path("none.pem"),
                                    .private_key = folder_.path("none.pem")})
                   .has_value());
  ServerFiles contradictory = files(authority_.issue({"DNS:a.test"}));
  contradictory.require_client_certificate = true;
  EXPECT_EQ(ServerContext::load(contradictory).error().code, "tls.bad_files");
}

}  // namespace
}  // namespace alga::tls
