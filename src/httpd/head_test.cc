#include "httpd/head.h"

#include <gtest/gtest.h>

#include "httpd/files.h"

namespace alga::httpd {
namespace {

using std::string_view;

struct BadHead {
  const char* name;
  string_view text;
  int status;
};

class RefusedHead : public ::testing::TestWithParam<BadHead> {};

TEST_P(RefusedHead, GetsItsStatus) {
  auto head = parse_head(GetParam().text, {});
  ASSERT_FALSE(head.has_value());
  EXPECT_EQ(head.error().status, GetParam().status);
}

#define BAD(name, text, status) \
  BadHead { name, string_view(text, sizeof(text) - 1), status }

INSTANTIATE_TEST_SUITE_P(
    Head, RefusedHead,
    ::testing::Values(
        BAD("LengthAndChunked",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400),
        BAD("TwoLengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        BAD("ListOfLengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
        BAD("SignedLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        BAD("NegativeLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        BAD("HexLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400),
        BAD("HugeLength",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
        BAD("EmptyLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        BAD("TwoCodings",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
            "chunked\r\n\r\n",
            400),
        BAD("GzipThenChunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        BAD("ChunkedIdentity",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501),
        BAD("ChunkedWithTab",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
            "chunked\r\n\r\n",
            400),
        BAD("ChunkedIn10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        BAD("Folded", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        BAD("FoldedFirst", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        BAD("BlankBeforeColon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        BAD("NoColon", "GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
        BAD("EmptyName", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        BAD("BareLineFeed", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        BAD("BareReturn", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        BAD("Nul", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        BAD("Escape", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x1b[2J\r\n\r\n", 400),
        BAD("NoHost", "GET / HTTP/1.1\r\n\r\n", 400),
        BAD("TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
        BAD("AbsoluteForm", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        BAD("Authority", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        BAD("DotSegments", "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        BAD("BlankInTarget", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        BAD("Version2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        BAD("Version09", "GET /\r\nHost: a\r\n\r\n", 400),
        BAD("LowerCaseVersion", "GET / http/1.1\r\nHost: a\r\n\r\n", 505),
        BAD("BadMethod", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        BAD("Expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: coffee\r\n\r\n", 417)),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Head, IsTakenApart) {
  auto head = parse_head(
      "POST /a/b?c=d&e HTTP/1.1\r\nHost: a.test\r\nX-One: 1 \r\nx-one:\t2\r\nEmpty:\r\n"
      "Content-Length: 007\r\nConnection: x, Close\r\nExpect: 100-Continue\r\n\r\n",
      {});
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->path, "/a/b");
  EXPECT_EQ(head->query, "c=d&e");
  ASSERT_EQ(head->headers.size(), 7U);
  EXPECT_EQ(head->headers[1].value, "1");
  EXPECT_EQ(head->headers[2].value, "2");
  EXPECT_EQ(head->headers[3].value, "");
  EXPECT_EQ(head->content_length, 7U);
  EXPECT_FALSE(head->keep_alive);
  EXPECT_TRUE(head->expects_continue);
}

TEST(Head, KeepsConnectionsAsTheVersionSays) {
  EXPECT_TRUE(parse_head("GET / HTTP/1.1\r\nHost: a\r\n\r\n", {})->keep_alive);
  EXPECT_FALSE(parse_head("GET / HTTP/1.0\r\n\r\n", {})->keep_alive);
  EXPECT_TRUE(parse_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", {})->keep_alive);
}

TEST(Head, IsBoundedInBytesFieldsAndTarget) {
  HeadLimits limits{.max_bytes = 100, .max_fields = 2, .max_target = 10};
  EXPECT_EQ(find_head(std::string(100, 'x'), limits).error().status, 431);
  EXPECT_EQ(find_head(std::string(99, 'x'), limits).value(), std::nullopt);
  EXPECT_EQ(find_head("a\r\n\r\nrest", limits).value(), 5U);
  EXPECT_EQ(find_head(std::string(98, 'x') + "\r\n\r\n", limits).error().status, 431);
  EXPECT_TRUE(parse_head("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n", limits).has_value());
  EXPECT_EQ(parse_head("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n", limits).error().status,
            431);
  EXPECT_EQ(parse_head("GET /aaaaaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n", limits).error().status, 414);
}

TEST(AnswerHead, AddsTheDefaultsAndOwnsTheFraming) {
  Response response;
  response.set("content-type", "text/plain");
  response.set("Content-Length", "999");
  response.set("Transfer-Encoding", "chunked");
  response.set("Connection", "upgrade");
  auto head = serialize_head(response, {.content_length = 3}, "r1", "now");
  EXPECT_EQ(head,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: now\r\ncache-control: "
            "no-store\r\nx-content-type-options: nosniff\r\nx-request-id: r1\r\ncontent-length: "
            "3\r\nconnection: keep-alive\r\n\r\n");
}

TEST(AnswerHead, KeepsWhatTheHandlerSet) {
  Response response;
  response.set("Cache-Control", "public, max-age=60");
  response.set("cache-control", "private");
  auto head = serialize_head(response, {}, "r1", "now");
  EXPECT_TRUE(head->contains("cache-control: private\r\n"));
  EXPECT_FALSE(head->contains("public"));
  EXPECT_FALSE(head->contains("no-store"));
}

TEST(AnswerHead, RefusesInjection) {
  for (const char* value : {"a\r\nSet-Cookie: x", "a\nb", "a\rb", " padded"}) {
    Response response;
    response.set("x-a", value);
    EXPECT_FALSE(serialize_head(response, {}, "r1", "now").has_value()) << value;
  }
  Response response;
  response.set("x a", "b");
  EXPECT_FALSE(serialize_head(response, {}, "r1", "now").has_value());
}

TEST(HttpDate, IsAnImfFixdate) {
  EXPECT_EQ(http_date(parse_rfc3339("1994-11-06T08:49:37Z").value()),
            "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(Range, TakesOneRangeOfBytes) {
  auto part = [](string_view header) { return parse_range(header, 100).value().value(); };
  EXPECT_EQ(part("bytes=0-0").length, 1U);
  EXPECT_EQ(part("bytes=10-").first, 10U);
  EXPECT_EQ(part("bytes=10-").length, 90U);
  EXPECT_EQ(part("bytes=90-500").length, 10U);
  EXPECT_EQ(part("bytes=-5").first, 95U);
  EXPECT_EQ(part("bytes=-500").length, 100U);
  for (const char* whole : {"items=0-1", "bytes=0-1,3-4", "bytes=5-1", "bytes=a-b", "bytes=-",
                            "bytes=", "bytes=0x1-", "bytes=99999999999999999999-"}) {
    EXPECT_EQ(parse_range(whole, 100).value().has_value(), false) << whole;
  }
  EXPECT_FALSE(parse_range("bytes=100-", 100).has_value());
  EXPECT_FALSE(parse_range("bytes=-0", 100).has_value());
  EXPECT_FALSE(parse_range("bytes=-1", 0).has_value());
}

TEST(Etag, IsComparedWeaklyAgainstAList) {
  EXPECT_TRUE(matches_etag("\"a\", W/\"b\"", "\"b\""));
  EXPECT_TRUE(matches_etag("*", "\"b\""));
  EXPECT_FALSE(matches_etag("\"a\"", "\"b\""));
}

}  // namespace
}  // namespace alga::httpd
