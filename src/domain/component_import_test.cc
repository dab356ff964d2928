#include "domain/component_import.h"

#include <gtest/gtest.h>

namespace alga::domain {
namespace {

TEST(ComponentImport, StandsAsRunnersLinkIt) {
  using enum ImportStanding;
  for (const char* name :
       {"alga:extension/http@1.0.0", "alga:extension/http@1.4.2", "alga:extension/config@1.0.0",
        "alga:extension/http", "alga:extension/user-v2", "alga:extension/scheduler",
        "alga:legacy/host@1.0.0", "wasi:io/streams@0.2.0", "wasi:http/outgoing-handler@0.2.10"}) {
    EXPECT_EQ(standing_of_import(name), offered) << name;
  }
  for (const char* name :
       {"alga:extension/http@2.0.0", "alga:extension/http@10.0.0", "alga:extension/config",
        "alga:extension/scheduler@1.0.0", "alga:extension/user-v2@1.0.0", "alga:legacy/host",
        "wasi:io/streams@0.3.0", "wasi:io/streams", "wasi:io/streams@0.2.0-rc-2023-11-10"}) {
    EXPECT_EQ(standing_of_import(name), other_version) << name;
  }
  for (const char* name :
       {"alga:extension/telepathy@1.0.0", "alga:extension", "", "@", "/", "wasi:sockets/tcp@0.2.0",
        "wasi:http/incoming@0.2.0", "wasi:made-up/telepathy@9.0.0", "http", "alga:extension/"}) {
    EXPECT_EQ(standing_of_import(name), unknown) << name;
  }
}

TEST(ComponentImport, NeedsTheCapabilityOfItsInterface) {
  EXPECT_EQ(capability_of_import("alga:extension/secrets@1.0.0"), Capability::secrets_get);
  EXPECT_EQ(capability_of_import("alga:extension/storage"), Capability::storage_kv);
  EXPECT_EQ(capability_of_import("wasi:http/outgoing-handler@0.2.3"), Capability::http_fetch);
  for (const char* name : {"wasi:http/types@0.2.3", "alga:extension/types@1.0.0", "alga:extension",
                           "other:extension/http@1.0.0", "", "alga:legacy/host@1.0.0"}) {
    EXPECT_EQ(capability_of_import(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace alga::domain
