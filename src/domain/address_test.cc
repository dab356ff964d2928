#include "domain/address.h"

#include <gtest/gtest.h>

namespace alga::domain {
namespace {

bool public_address(const char* text) {
  auto address = parse_address(text);
  EXPECT_TRUE(address) << text;
  return address && is_public(*address);
}

TEST(Address, KnowsPublicOnes) {
  for (const char* text : {"1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255",
                           "100.128.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0",
                           "223.255.255.255", "11.0.0.0", "2606:4700::1111", "2a00:1450:4001::1",
                           "2001:200::1", "::ffff:8.8.8.8", "64:ff9b::808:808"}) {
    EXPECT_TRUE(public_address(text)) << text;
  }
}

TEST(Address, KnowsSpecialOnes) {
  for (const char* text : {"0.0.0.0",
                           "0.1.2.3",
                           "10.0.0.1",
                           "10.255.255.255",
                           "100.64.0.1",
                           "100.127.255.255",
                           "127.0.0.1",
                           "127.255.255.254",
                           "169.254.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.0.0.1",
                           "192.0.0.192",
                           "192.0.2.1",
                           "192.88.99.1",
                           "192.168.0.1",
                           "198.18.0.1",
                           "198.19.255.255",
                           "198.51.100.1",
                           "203.0.113.1",
                           "224.0.0.1",
                           "239.255.255.255",
                           "240.0.0.1",
                           "255.255.255.255",
                           "168.63.129.16",
                           "100.100.100.200",
                           "::",
                           "::1",
                           "::127.0.0.1",
                           "::8.8.8.8",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "::ffff:169.254.169.254",
                           "64:ff9b::7f00:1",
                           "64:ff9b::a9fe:a9fe",
                           "64:ff9b:1::808:808",
                           "100::1",
                           "2001::1",
                           "2001:2::1",
                           "2001:10::1",
                           "2001:20::1",
                           "2001:db8::1",
                           "2002:7f00:1::",
                           "2002:808:808::1",
                           "3fff::1",
                           "5f00::1",
                           "fc00::1",
                           "fd00:ec2::254",
                           "fd20:ce::254",
                           "fe80::1",
                           "fec0::1",
                           "ff02::1",
                           "4000::1"}) {
    EXPECT_FALSE(public_address(text)) << text;
  }
}

TEST(Address, RefusesOtherSpellings) {
  for (const char* text : {"", "1", "1.2.3", "127.1", "0177.0.0.1", "0x7f.0.0.1", "1.2.3.4.",
                           "1.2.3.256", " 1.2.3.4", "fe80::1%eth0", "[::1]", "1.2.3.4/32", ":::"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(Network, ContainsByPrefix) {
  auto network = parse_network("10.1.2.0/23");
  ASSERT_TRUE(network);
  EXPECT_TRUE(network->contains(*parse_address("10.1.3.255")));
  EXPECT_FALSE(network->contains(*parse_address("10.1.4.0")));
  EXPECT_FALSE(network->contains(*parse_address("a01:200::")));
  EXPECT_TRUE(parse_network("0.0.0.0/0")->contains(*parse_address("9.9.9.9")));
  EXPECT_TRUE(parse_network("::1/128")->contains(*parse_address("::1")));
  EXPECT_FALSE(parse_network("::1/128")->contains(*parse_address("::2")));
}

TEST(Network, RefusesWhatIsNoNetwork) {
  for (const char* text : {"10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
                           "10.0.0.0/8x", "::/129", "::1/127", "/8", "x/8", "10.0.0.0/ 8"}) {
    EXPECT_FALSE(parse_network(text)) << text;
  }
}

TEST(Address, KnowsMetadataServicesAlsoWhenMapped) {
  EXPECT_TRUE(is_metadata(*parse_address("169.254.169.254")));
  EXPECT_TRUE(is_metadata(*parse_address("::ffff:169.254.169.254")));
  EXPECT_TRUE(is_metadata(*parse_address("64:ff9b::169.254.169.254")));
  EXPECT_TRUE(is_metadata(*parse_address("fd00:ec2::254")));
  EXPECT_FALSE(is_metadata(*parse_address("169.254.1.1")));
}

TEST(Address, WhatAGatewayOfNat64ReachesIsTheAddressItself) {
  EXPECT_EQ(reached(*parse_address("64:ff9b::93.184.216.34")), *parse_address("93.184.216.34"));
  EXPECT_EQ(reached(*parse_address("::ffff:93.184.216.34")), *parse_address("93.184.216.34"));
  EXPECT_EQ(reached(*parse_address("64:ff9b:1::5db8:d822")), *parse_address("64:ff9b:1::5db8:d822"))
      << "another prefix";
}

}  // namespace
}  // namespace alga::domain
