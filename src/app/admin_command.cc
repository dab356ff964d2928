#include "app/admin_command.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <iterator>

#include "app/api_operations.h"
#include "app/input_file.h"
#include "base/bytes.h"
#include "base/metrics.h"
#include "base/secret.h"
#include "control_plane/openapi.h"
#include "egress/http_client.h"

namespace alga::app {
namespace {

constexpr int kRefused = 1;
constexpr int kBadUse = 2;
constexpr int kUnreachable = 3;
/// Publishing compiles the component before it answers.
constexpr std::chrono::minutes kPatience{5};
constexpr std::uint64_t kMostBytes = 64U << 20U;
/// More than any bundle.
constexpr std::size_t kLargestFile = 256U << 20U;

/// One command: its operation and what was typed for it. CLI11 keeps pointers into it.
struct Command {
  const Operation* operation = nullptr;
  CLI::App* app = nullptr;
  std::map<std::string, std::vector<std::string>> texts;
  std::map<std::string, bool> flags;
  std::string body_file;
};

Result<std::string> read_file(const std::string& name) {
  if (name == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  return read_whole_file(name, kLargestFile, "admin.bad_argument");
}

/// A file written by hand ends with a line feed that is no part of the secret.
std::string without_line_end(std::string text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

/// Asks at the terminal without showing what is typed. None without a terminal.
std::optional<std::string> prompt(const std::string& question) {
  int terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC);
  termios before{};
  if (terminal < 0 || ::tcgetattr(terminal, &before) != 0) {
    if (terminal >= 0) ::close(terminal);
    return std::nullopt;
  }
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  ::tcsetattr(terminal, TCSAFLUSH, &silent);
  ::dprintf(terminal, "%s: ", question.c_str());
  std::string answer;
  char c = 0;
  while (::read(terminal, &c, 1) == 1 && c != '\n') answer += c;
  ::tcsetattr(terminal, TCSAFLUSH, &before);
  ::dprintf(terminal, "\n");
  ::close(terminal);
  return answer;
}

int complain(const Error& error, int status) {
  std::fprintf(stderr, "error: %s: %s\n", std::string(error.code).c_str(), error.message.c_str());
  return status;
}

std::string at(const boost::json::value& body, const char* pointer) {
  boost::system::error_code ignored;
  const auto* found = body.find_pointer(pointer, ignored);
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

void show_refusal(int status, const std::string& text) {
  boost::system::error_code bad;
  boost::json::value body = boost::json::parse(text, bad);
  std::string code = bad ? "" : at(body, "/error/code");
  std::string message = bad ? "" : at(body, "/error/message");
  std::string request = bad ? "" : at(body, "/error/request_id");
  if (!bad && code.empty()) code = at(body, "/code");
  std::fprintf(stderr, "error: %s: %s\n",
               code.empty() ? std::to_string(status).c_str() : code.c_str(),
               message.empty() ? text.c_str() : message.c_str());
  if (!request.empty()) std::fprintf(stderr, "request: %s\n", request.c_str());
}

}  // namespace

struct AdminCommand::State {
  CLI::App* admin = nullptr;
  std::vector<Operation> operations;
  std::deque<Command> commands;
  std::string server = "http://127.0.0.1:8080";
  std::string token_file, tenant, authorities;
  bool as_json = false;

  void add_globals();
  void add(const Operation& operation);
  void add_parameter(Command& command, const Parameter& parameter);
  [[nodiscard]] Result<Secret> token() const;
  [[nodiscard]] Result<Words> words_of(const Command& command) const;
  [[nodiscard]] Result<ApiRequest> request_of(const Command& command) const;
  [[nodiscard]] int send(const Operation& operation, ApiRequest request) const;
};

void AdminCommand::State::add_globals() {
  admin->add_option("--server", server, "URL of the control plane")->envname("ALGA_SERVER");
  admin->add_option("--token-file", token_file,
                    "File with the token (`-`: standard input); else ALGA_TOKEN, else a prompt");
  admin->add_option("--tenant", tenant, "The tenant to act for, when the caller is an operator")
      ->envname("ALGA_TENANT");
  admin->add_option("--ca", authorities, "PEM file of the authorities that signed the server")
      ->check(CLI::ExistingFile);
  admin->add_flag("--json", as_json, "The answer as the server gave it");
  admin->require_subcommand(1);
  admin->fallthrough();
  admin->footer(
      "The commands are the operations of the API's OpenAPI document.\n"
      "Exit status: 0 good, 1 refused or failed, 2 bad use, 3 the server cannot be reached.");
}

void AdminCommand::State::add(const Operation& operation) {
  CLI::App* at = admin;
  for (const std::string& word : operation.words) {
    const auto named = [&word](const CLI::App* app) { return app->get_name() == word; };
    const auto there = at->get_subcommands(named);
    CLI::App* next = there.empty() ? nullptr : there.front();
    if (next == nullptr) {
      next = at->add_subcommand(word);
      next->fallthrough();
    }
    at = next;
  }
  // A family of commands needs one of them to be named.
  if (operation.words.size() > 1) {
    CLI::App* family = admin->get_subcommand(operation.words.front());
    family->require_subcommand(1);
    family->description("Commands of " + operation.words.front());
  }
  at->description(operation.summary + " (" + operation.caller + ")");
  Command& command = commands.emplace_back();
  command.operation = &operation;
  command.app = at;
  for (const Parameter& parameter : operation.parameters) add_parameter(command, parameter);
  if (operation.body_type == "application/json") {
    at->add_option("--body", command.body_file,
                   "JSON file for the whole body (`-`: standard input)");
  }
}

void AdminCommand::State::add_parameter(Command& command, const Parameter& parameter) {
  bool positional = parameter.place == Place::path || parameter.shape == Shape::file;
  std::string name = (positional ? "" : "--") + parameter.option;
  std::string about = parameter.description;
  CLI::Option* option = nullptr;
  if (parameter.shape == Shape::flag) {
    option = command.app->add_flag(name, command.flags[parameter.name], about);
    return;
  }
  if (parameter.shape == Shape::secret) {
    name += "-file";
    about += " From a file (`-`: standard input), else a prompt.";
  }
  option = command.app->add_option(name, command.texts[parameter.name], about);
  bool many = parameter.shape == Shape::texts || parameter.shape == Shape::pairs;
  option->type_size(1);
  option->expected(1);
  option->multi_option_policy(many ? CLI::MultiOptionPolicy::TakeAll
                                   : CLI::MultiOptionPolicy::Throw);
  option->allow_extra_args(false);
  if (positional) option->required();
  option->type_name(parameter.shape == Shape::integer ? "NUMBER"
                    : parameter.shape == Shape::pairs ? "KEY=VALUE"
                    : parameter.shape == Shape::json  ? "JSON"
                    : parameter.shape == Shape::secret || parameter.shape == Shape::file ? "FILE"
                                                                                         : "TEXT");
}

Result<Secret> AdminCommand::State::token() const {
  if (!token_file.empty()) {
    TRY(std::string text, read_file(token_file));
    return Secret{without_line_end(std::move(text))};
  }
  if (const char* text = std::getenv("ALGA_TOKEN"); text != nullptr && *text != '\0') {
    return Secret{std::string(text)};
  }
  if (auto typed = prompt("token")) return Secret{std::move(*typed)};
  return fail(Kind::invalid, "admin.no_token",
              "name the token with --token-file or the variable ALGA_TOKEN");
}

Result<Words> AdminCommand::State::words_of(const Command& command) const {
  Words words;
  for (const Parameter& parameter : command.operation->parameters) {
    if (parameter.shape == Shape::flag) {
      if (command.flags.at(parameter.name)) words[parameter.name] = {"true"};
      continue;
    }
    std::vector<std::string> typed = command.texts.at(parameter.name);
    if (parameter.shape == Shape::secret && typed.empty()) {
      if (auto secret = prompt(parameter.option)) words[parameter.name] = {std::move(*secret)};
      continue;
    }
    if (typed.empty()) continue;
    bool from_file = parameter.shape == Shape::secret || parameter.shape == Shape::file;
    if (parameter.shape == Shape::json && typed.front().starts_with('@')) {
      typed.front().erase(0, 1);
      from_file = true;
    }
    if (from_file) {
      TRY(typed.front(), read_file(typed.front()));
      if (parameter.shape == Shape::secret) typed.front() = without_line_end(typed.front());
    }
    words[parameter.name] = std::move(typed);
  }
  return words;
}

Result<ApiRequest> AdminCommand::State::request_of(const Command& command) const {
  if (command.body_file.empty()) {
    TRY(Words words, words_of(command));
    return api_request(*command.operation, words);
  }
  // The file is the body; only what stands in the address is taken from the command line.
  Operation bare = *command.operation;
  std::erase_if(bare.parameters, [](const Parameter& it) { return it.place == Place::body; });
  Command addressed = command;
  addressed.operation = &bare;
  TRY(Words words, words_of(addressed));
  TRY(ApiRequest request, api_request(bare, words));
  TRY(request.body, read_file(command.body_file));
  return request;
}

int AdminCommand::State::send(const Operation& operation, ApiRequest request) const {
  auto secret = token();
  if (!secret) return complain(secret.error(), kBadUse);
  NoMetrics metrics;
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  egress::ClientRequest wire{.method = request.method, .url = server + request.target};
  while (wire.url.starts_with(server + "//")) wire.url.erase(server.size(), 1);
  wire.headers.push_back({"authorization", "Bearer " + std::string(secret->reveal())});
  if (!request.content_type.empty()) wire.headers.push_back({"content-type", request.content_type});
  if (operation.takes_tenant && !tenant.empty()) wire.headers.push_back({"x-tenant-id", tenant});
  wire.body = std::move(request.body);
  wire.timeout = kPatience;
  wire.max_response_bytes = kMostBytes;
  if (!authorities.empty()) wire.tls.authorities_file = authorities;
  auto answer = client.send_blocking(std::move(wire));
  if (!answer) return complain(answer.error(), kUnreachable);
  std::string body = answer->body.value_or("");
  bool good = answer->status >= 200 && answer->status < 300;
  if (as_json) {
    std::printf("%s\n", body.c_str());
  } else if (!good) {
    show_refusal(answer->status, body);
  } else {
    std::printf("%s", body.empty() ? "done\n" : api_answer_text(body).c_str());
  }
  return good ? 0 : kRefused;
}

AdminCommand::AdminCommand(CLI::App& cli) : state_(std::make_unique<State>()) {
  state_->admin = cli.add_subcommand("admin", "Call the admin API of a running server");
  state_->add_globals();
  auto operations = api_operations(control_plane::openapi_document());
  ALGA_CHECK(operations.has_value());
  state_->operations = std::move(*operations);
  for (const Operation& operation : state_->operations) state_->add(operation);
}

AdminCommand::~AdminCommand() = default;

bool AdminCommand::chosen() const { return state_->admin->parsed(); }

int AdminCommand::run() {
  for (const Command& command : state_->commands) {
    if (!command.app->parsed()) continue;
    auto request = state_->request_of(command);
    if (!request) return complain(request.error(), kBadUse);
    return state_->send(*command.operation, std::move(*request));
  }
  return kBadUse;
}

}  // namespace alga::app
