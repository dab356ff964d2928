#include "httpd/server.h"

#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <latch>
#include <thread>

#include "async/deadline.h"
#include "crypto/digest.h"
#include "httpd/testing_server.h"

namespace alga::httpd {
namespace {

using namespace std::chrono_literals;

async::Task<Response> say_hello(Request request) {
  Response response;
  response.set("content-type", "text/plain");
  response.body = "hello " + std::string(request.query_param("name").value_or("you"));
  co_return response;
}

async::Task<Response> echo(Request request) {
  Response response;
  response.body = std::move(request.body);
  response.set("x-size", std::to_string(request.body_size));
  co_return response;
}

async::Task<Response> describe_file(Request request) {
  std::ifstream file(request.body_file);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Response response;
  response.body = request.body_sha256 + " " + std::to_string(text.size()) + " " + request.body_file;
  co_return response;
}

async::Task<Response> throwing(Request) {
  throw std::runtime_error("secret detail");
  co_return Response{};
}

async::Task<Response> inject(Request) {
  Response response;
  response.set("x-a", "b\r\nset-cookie: stolen=1");
  co_return response;
}

async::Task<std::optional<Response>> only_friends(Request request) {
  if (request.header("authorization") == "friend") co_return std::nullopt;
  co_return problem_response(401, "auth.required", "no", request.request_id);
}

async::Task<Result<std::string>> next_number(std::shared_ptr<int> count) {
  if (++*count > 3) co_return "";
  co_return "data: " + std::to_string(*count) + "\n\n";
}

async::Task<Response> events(Request) {
  Response response;
  response.set("content-type", "text/event-stream");
  response.stream = [count = std::make_shared<int>(0)] { return next_number(count); };
  co_return response;
}

async::Task<Result<std::string>> wait_for_ever() {
  SystemClock clock;
  co_await async::sleep_for(&clock, 1h);
  co_return "late";
}

async::Task<Response> endless(Request) {
  Response response;
  response.stream = [] { return wait_for_ever(); };
  co_return response;
}

Router example(const std::string& file = {}) {
  Router router;
  router.add("GET", "/hello", say_hello);
  router.add("POST", "/echo", {.max_body = 1000}, echo);
  router.add("PUT", "/large", {.max_body = 8U << 20U}, echo);
  router.add("PUT", "/spool", {.max_body = 8U << 20U, .spool = true}, describe_file);
  router.add("POST", "/friends", {.max_body = 1U << 20U, .spool = false, .admit = only_friends},
             echo);
  router.add("GET", "/throw", throwing);
  router.add("GET", "/inject", inject);
  router.add("GET", "/events", events);
  router.add("GET", "/endless", endless);
  router.add("GET", "/file", [file](Request) -> async::Task<Response> {
    Response response;
    response.file = file;
    response.set("etag", "\"v1\"");
    response.set("content-type", "text/plain");
    return [](Response made) -> async::Task<Response> { co_return made; }(std::move(response));
  });
  return router;
}

std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
         std::string(fields) + "\r\n";
}
std::string body_of(const std::string& response) {
  return response.substr(std::min(response.find("\r\n\r\n") + 4, response.size()));
}

TEST(Server, AnswersWithTheDefaultHeaders) {
  TestingServer server(example());
  const std::string response = exchange_raw(server.port(), get("/hello?name=A%26B"));
  EXPECT_TRUE(response.starts_with("HTTP/1.1 200 OK\r\n")) << response;
  EXPECT_TRUE(response.contains("\r\ncache-control: no-store\r\n"));
  EXPECT_TRUE(response.contains("\r\nx-content-type-options: nosniff\r\n"));
  EXPECT_TRUE(response.contains("\r\nx-request-id: "));
  EXPECT_TRUE(response.contains("\r\nconnection: close\r\n"));
  EXPECT_EQ(body_of(response), "hello A&B");
}

TEST(Server, KeepsTheCallersRequestIdOnlyWhenItIsAnIdentifier) {
  TestingServer server(example());
  EXPECT_TRUE(exchange_raw(server.port(), get("/hello", "X-Request-Id: abc-1\r\n"))
                  .contains("\r\nx-request-id: abc-1\r\n"));
  const std::string other =
      exchange_raw(server.port(), get("/hello", "X-Request-Id: <script>\r\n"));
  EXPECT_FALSE(other.contains("script"));
  EXPECT_TRUE(other.contains("\r\nx-request-id: "));
}

TEST(Server, AnswersErrorsAsJson) {
  TestingServer server(example());
  const std::string missing = exchange_raw(server.port(), get("/no", "x-request-id: r1\r\n"));
  EXPECT_TRUE(missing.starts_with("HTTP/1.1 404"));
  EXPECT_EQ(
      body_of(missing),
      R"({"error":{"code":"http.not_found","message":"no such resource","request_id":"r1"}})");
  const std::string method =
      exchange_raw(server.port(), "PUT /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(method.starts_with("HTTP/1.1 405"));
  EXPECT_TRUE(method.contains("\r\nallow: GET, HEAD\r\n"));
}

TEST(Server, HidesWhatAHandlerThrew) {
  TestingServer server(example());
  const std::string response = exchange_raw(server.port(), get("/throw"));
  EXPECT_TRUE(response.starts_with("HTTP/1.1 500"));
  EXPECT_TRUE(response.contains("http.internal"));
  EXPECT_FALSE(response.contains("secret detail"));
}

TEST(Server, TurnsInjectedHeadersIntoAnError) {
  TestingServer server(example());
  const std::string response = exchange_raw(server.port(), get("/inject"));
  EXPECT_TRUE(response.starts_with("HTTP/1.1 500"));
  EXPECT_FALSE(response.contains("set-cookie"));
}

TEST(Server, ServesPipelinedRequestsInOrder) {
  TestingServer server(example());
  RawClient client(server.port());
  ASSERT_TRUE(
      client.send("GET /hello?name=1 HTTP/1.1\r\nHost: a\r\n\r\n"
                  "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                  "GET /hello?name=2 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_EQ(body_of(client.read_response()), "hello 1");
  EXPECT_EQ(body_of(client.read_response()), "hi");
  EXPECT_EQ(body_of(client.read_response()), "hello 2");
}

TEST(Server, AnswersHeadWithoutABody) {
  TestingServer server(example());
  RawClient client(server.port());
  ASSERT_TRUE(client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(client.read_response(true).contains("\r\ncontent-length: 9\r\n"));
  ASSERT_TRUE(client.send(get("/hello")));
  EXPECT_EQ(body_of(client.read_response()), "hello you");
}

TEST(Server, ReadsChunkedBodies) {
  TestingServer server(example());
  const std::string response = exchange_raw(
      server.port(),
      "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: ignored\r\n\r\n");
  EXPECT_TRUE(response.starts_with("HTTP/1.1 200"));
  EXPECT_EQ(body_of(response), "hello world");
}

TEST(Server, RefusesMalformedChunks) {
  TestingServer server(example());
  for (const char* body : {"x\r\nhello\r\n0\r\n\r\n", "-1\r\nhello\r\n0\r\n\r\n",
                           "5\r\nhelloXX0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"}) {
    const std::string response = exchange_raw(
        server.port(), std::string("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n") +
                           body);
    EXPECT_TRUE(response.starts_with("HTTP/1.1 400")) << body << response;
  }
}

TEST(Server, RefusesBodiesOfNothingButFraming) {
  TestingServer server(example());
  std::string request = "PUT /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string filler = "1;" + std::string(500, 'x') + "\r\na\r\n";
  for (int i = 0; i < 1000; ++i) request += filler;
  EXPECT_TRUE(exchange_raw(server.port(), request).starts_with("HTTP/1.1 400"));
}

TEST(Server, RefusesLargeBodiesBeforeReadingThem) {
  TestingServer server(example());
  RawClient declared(server.port());
  ASSERT_TRUE(declared.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"));
  EXPECT_TRUE(declared.read_response().starts_with("HTTP/1.1 413"));

  std::string chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) chunked += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_TRUE(exchange_raw(server.port(), chunked).starts_with("HTTP/1.1 413"));

  EXPECT_EQ(body_of(exchange_raw(server.port(),
                                 "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                 "Content-Length: 1000\r\n\r\n" +
                                     std::string(1000, 'x')))
                .size(),
            1000U);
}

TEST(Server, TellsWhoWantsToKnowOfBodiesThatAreTooLargeAndOfNoStrangers) {
  for (const bool spool : {false, true}) {
    std::atomic<int> told = 0;
    Router router;
    const auto tell = [&told](const Request&) {
      ++told;
      return std::nullopt;
    };
    router.add("PUT", "/counted",
               {.max_body = 100, .spool = spool, .admit = only_friends, .too_large = tell}, echo);
    TestingServer server(std::move(router));
    const std::string head = "PUT /counted HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    const std::string friendly = head + "authorization: friend\r\n";
    const std::string declared = "Content-Length: 101\r\n\r\n";
    const std::string chunked =
        "Transfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x') + "\r\n0\r\n\r\n";
    const auto status = [&](const std::string& request) {
      return exchange_raw(server.port(), request).substr(9, 3);
    };
    EXPECT_EQ(status(head + declared), "401");
    EXPECT_EQ(status(head + chunked), "401");
    EXPECT_EQ(status(friendly + "Content-Length: 100\r\n\r\n" + std::string(100, 'x')), "200");
    EXPECT_EQ(told, 0);
    EXPECT_EQ(status(friendly + declared), "413");
    EXPECT_EQ(told, 1);
    EXPECT_EQ(status(friendly + chunked), "413");
    EXPECT_EQ(told, 2);
  }
}

TEST(Server, BoundsAllBufferedBodiesTogether) {
  ServerOptions options;
  options.max_buffered_bytes = 100'000;
  TestingServer server(example(), options);
  const std::string head =
      "PUT /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ";
  EXPECT_TRUE(exchange_raw(server.port(), head + "200000\r\n\r\n" + std::string(200'000, 'x'))
                  .starts_with("HTTP/1.1 503"));
  EXPECT_TRUE(exchange_raw(server.port(), head + "90000\r\n\r\n" + std::string(90'000, 'x'))
                  .starts_with("HTTP/1.1 200"));
}

TEST(Server, AsksForABodyThatIsOfferedAndOnlyThen) {
  TestingServer server(example());
  RawClient client(server.port());
  ASSERT_TRUE(client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client.read_response(true), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.send("hi"));
  EXPECT_EQ(body_of(client.read_response()), "hi");
  ASSERT_TRUE(client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_TRUE(client.read_response().starts_with("HTTP/1.1 413"));
}

TEST(Server, AdmitsBeforeItReadsTheBody) {
  TestingServer server(example());
  const std::string offer =
      "POST /friends HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n";
  RawClient stranger(server.port());
  ASSERT_TRUE(stranger.send(offer + "\r\n"));
  EXPECT_TRUE(stranger.read_response().starts_with("HTTP/1.1 401"));
  RawClient known(server.port());
  ASSERT_TRUE(known.send(offer + "Authorization: friend\r\n\r\n"));
  EXPECT_TRUE(known.read_response(true).starts_with("HTTP/1.1 100"));
  ASSERT_TRUE(known.send("hi"));
  EXPECT_EQ(body_of(known.read_response()), "hi");
}

TEST(Server, SpoolsBodiesToAFileAndHashesThem) {
  TestingServer server(example());
  const std::string content(3'000'000, 'q');
  const std::string response = exchange_raw(
      server.port(), "PUT /spool HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " +
                         std::to_string(content.size()) + "\r\n\r\n" + content);
  const std::string body = body_of(response);
  EXPECT_TRUE(body.starts_with(crypto::sha256_hex(content) + " 3000000 " + server.spool_folder()))
      << response.substr(0, 400);
  EXPECT_TRUE(std::filesystem::is_empty(server.spool_folder()));

  const std::string empty =
      exchange_raw(server.port(), "PUT /spool HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(body_of(empty).starts_with(crypto::sha256_hex("") + " 0 "));
}

TEST(Server, RemovesTheFileOfABodyThatNeverComes) {
  TestingServer server(example());
  {
    RawClient client(server.port());
    ASSERT_TRUE(client.send("PUT /spool HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nabc"));
    client.finish();
    EXPECT_EQ(client.read_all(), "");
  }
  EXPECT_TRUE(server.server().drain(std::chrono::steady_clock::now() + 5s));
  EXPECT_TRUE(std::filesystem::is_empty(server.spool_folder()));
}

class FileServer : public ::testing::Test {
 protected:
  FileServer() { std::ofstream(path_) << "0123456789"; }
  ~FileServer() override { std::filesystem::remove(path_); }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("alga-served-" + std::to_string(::getpid())))
          .string();
  TestingServer server_{example(path_)};
};

TEST_F(FileServer, ServesWholeFilesAndParts) {
  EXPECT_EQ(body_of(exchange_raw(server_.port(), get("/file"))), "0123456789");
  const std::string part = exchange_raw(server_.port(), get("/file", "Range: bytes=2-4\r\n"));
  EXPECT_TRUE(part.starts_with("HTTP/1.1 206"));
  EXPECT_TRUE(part.contains("\r\ncontent-range: bytes 2-4/10\r\n"));
  EXPECT_EQ(body_of(part), "234");
  const std::string beyond = exchange_raw(server_.port(), get("/file", "Range: bytes=10-\r\n"));
  EXPECT_TRUE(beyond.starts_with("HTTP/1.1 416"));
  EXPECT_TRUE(beyond.contains("\r\ncontent-range: bytes */10\r\n"));
}

TEST_F(FileServer, HonoursValidators) {
  const std::string same = exchange_raw(server_.port(), get("/file", "If-None-Match: \"v1\"\r\n"));
  EXPECT_TRUE(same.starts_with("HTTP/1.1 304"));
  EXPECT_FALSE(same.contains("content-length"));
  EXPECT_TRUE(exchange_raw(server_.port(), get("/file", "Range: bytes=2-4\r\nIf-Range: \"v0\"\r\n"))
                  .starts_with("HTTP/1.1 200"));
}

TEST_F(FileServer, AnswersHeadWithTheLength) {
  RawClient client(server_.port());
  ASSERT_TRUE(client.send("HEAD /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  const std::string response = client.read_all();
  EXPECT_TRUE(response.contains("\r\ncontent-length: 10\r\n"));
  EXPECT_EQ(body_of(response), "");
}

TEST_F(FileServer, DoesNotServeLinksOrFolders) {
  const std::string link = path_ + ".link";
  std::filesystem::create_symlink(path_, link);
  TestingServer linked(example(link));
  TestingServer folder(example("/tmp"));
  EXPECT_TRUE(exchange_raw(linked.port(), get("/file")).starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(exchange_raw(folder.port(), get("/file")).starts_with("HTTP/1.1 404"));
  std::filesystem::remove(link);
}

TEST(Server, StreamsChunksAndEndsThem) {
  TestingServer server(example());
  const std::string response = exchange_raw(server.port(), get("/events"));
  EXPECT_TRUE(response.contains("\r\ntransfer-encoding: chunked\r\n"));
  EXPECT_EQ(body_of(response),
            "9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n9\r\ndata: 3\n\n\r\n0\r\n\r\n");
  const std::string old = exchange_raw(server.port(), "GET /events HTTP/1.0\r\n\r\n");
  EXPECT_EQ(body_of(old), "data: 1\n\ndata: 2\n\ndata: 3\n\n");
}

/// What a client gets that sends this and no more, by its end of the connection.
std::string said_to_a_slow_client(const ServerOptions& options, const std::string& sent) {
  TestingServer server(example(), options);
  RawClient client(server.port());
  EXPECT_TRUE(client.send(sent));
  return client.read_all();
}

TEST(Server, DropsClientsThatAreTooSlow) {
  // One at a time: the others are long, so that a busy machine is not taken for a slow client.
  ServerOptions head;
  head.header_timeout = 50ms;
  EXPECT_EQ(said_to_a_slow_client(head, "GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow"), "");
  ServerOptions body;
  body.body_timeout = 50ms;
  EXPECT_EQ(said_to_a_slow_client(
                body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"),
            "");
  ServerOptions idle;
  idle.idle_timeout = 50ms;
  EXPECT_TRUE(said_to_a_slow_client(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                  .starts_with("HTTP/1.1 200"));
}

TEST(Server, ClosesConnectionsBeyondTheLimit) {
  ServerOptions options;
  options.max_connections = 1;
  TestingServer server(example(), options);
  RawClient first(server.port());
  ASSERT_TRUE(first.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(first.read_response().starts_with("HTTP/1.1 200"));
  RawClient second(server.port());
  second.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(second.read_all(), "");
  ASSERT_TRUE(first.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(first.read_response().starts_with("HTTP/1.1 200"));
}

TEST(Server, RefusesSmugglingAndOversizedHeads) {
  TestingServer server(example());
  const std::string smuggled = exchange_raw(
      server.port(),
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(smuggled.starts_with("HTTP/1.1 400")) << smuggled;
  EXPECT_FALSE(smuggled.contains("hello"));
  EXPECT_TRUE(exchange_raw(server.port(), get("/hello", "X: " + std::string(70'000, 'x') + "\r\n"))
                  .starts_with("HTTP/1.1 431"));
  std::string fields;
  for (int i = 0; i < 101; ++i) fields += "X-" + std::to_string(i) + ": 1\r\n";
  EXPECT_TRUE(exchange_raw(server.port(), get("/hello", fields)).starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(exchange_raw(server.port(), "\x16\x03\x01 no line end").starts_with("HTTP/1.1 400"));
}

TEST(Server, RefusesAPortThatIsTaken) {
  TestingServer server(example());
  async::IoThreads threads(1, "test");
  async::BlockingPool files(1, 10);
  SystemClock clock;
  SystemRandom random;
  NoMetrics metrics;
  ServerOptions options;
  options.port = server.port();
  auto second = Server::start(options, std::make_shared<const Router>(example()),
                              {.threads = &threads,
                               .files = &files,
                               .clock = &clock,
                               .random = &random,
                               .metrics = &metrics});
  EXPECT_EQ(second.error().code, "http.listen_failed");
}

struct Slow {
  std::latch entered{1};
  SystemClock clock;
};

async::Task<Response> slow_answer(Slow* slow, std::chrono::milliseconds duration) {
  slow->entered.count_down();
  co_await async::sleep_for(&slow->clock, duration);
  Response response;
  response.body = "done";
  co_return response;
}

TEST(Drain, LetsRequestsFinishAndClosesTheRest) {
  Slow slow;
  Router router = example();
  router.add("GET", "/slow", [&slow](Request) { return slow_answer(&slow, 50ms); });
  TestingServer server(std::move(router));
  RawClient idle(server.port());
  ASSERT_TRUE(idle.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(idle.read_response().starts_with("HTTP/1.1 200"));
  RawClient stream(server.port());
  ASSERT_TRUE(stream.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(stream.read_response(true).starts_with("HTTP/1.1 200"));
  RawClient busy(server.port());
  ASSERT_TRUE(busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"));
  slow.entered.wait();

  EXPECT_TRUE(server.server().drain(std::chrono::steady_clock::now() + 10s));
  const std::string answer = busy.read_all();
  EXPECT_TRUE(answer.contains("\r\nconnection: close\r\n"));
  EXPECT_EQ(body_of(answer), "done");
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_EQ(stream.read_all(), "0\r\n\r\n");
}

TEST(Drain, CancelsWhatTakesTooLong) {
  Slow slow;
  Router router;
  router.add("GET", "/slow", [&slow](Request) { return slow_answer(&slow, 1h); });
  TestingServer server(std::move(router));
  RawClient busy(server.port());
  ASSERT_TRUE(busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"));
  slow.entered.wait();
  EXPECT_FALSE(server.server().drain(std::chrono::steady_clock::now() + 10ms));
  EXPECT_EQ(server.server().connections(), 0U);
  EXPECT_EQ(busy.read_all(), "");
}

async::Task<Response> watched(Slow* slow, std::latch* cancelled) {
  slow->entered.count_down();
  try {
    co_await async::sleep_for(&slow->clock, 1h);
  } catch (const boost::system::system_error&) {
    cancelled->count_down();
    throw;
  }
  co_return Response{};
}

TEST(Server, CancelsTheHandlerWhenTheClientHasLeftIfTheRouteSaysSo) {
  Slow slow;
  std::latch cancelled(1);
  Router router;
  router.add("GET", "/watched", {.cancel_when_client_leaves = true},
             [&](Request) { return watched(&slow, &cancelled); });
  TestingServer server(std::move(router));
  {
    RawClient client(server.port());
    // What was pipelined behind the request does not hide the end.
    ASSERT_TRUE(client.send("GET /watched HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n"));
    slow.entered.wait();
  }
  cancelled.wait();
}

TEST(Server, ServesManyConnectionsOnSeveralThreads) {
  TestingServer server(example(), {}, 4);
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      RawClient client(server.port());
      for (int n = 0; n < 200; ++n) {
        client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        if (client.read_response().ends_with("hello you")) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 1600);
}

}  // namespace
}  // namespace alga::httpd
