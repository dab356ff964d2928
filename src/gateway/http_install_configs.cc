#include "gateway/http_install_configs.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "async/await_callback.h"
#include "domain/envelope.h"
#include "domain/grant.h"
#include "domain/install_config_codec.h"

namespace alga::gateway {
namespace {

using Config = std::shared_ptr<const domain::InstallConfig>;
using Done = Callback<Config>;

constexpr std::uint64_t kMaxAnswer = 8U << 20U;
constexpr std::chrono::seconds kRenewalPause{1};

std::unexpected<Error> unavailable(std::string why) {
  return fail({Kind::unavailable, "install.unavailable", std::move(why), 1});
}

Result<Config> parse_answer(const Result<domain::HttpResponse>& response, const TenantId& tenant) {
  if (!response) {
    return unavailable(std::string(response.error().code) + ": " + response.error().message);
  }
  if (response->status == 404) return fail(Kind::not_found, "install.not_found", "no such install");
  if (response->status != 200) {
    return unavailable("the control plane answered " + std::to_string(response->status));
  }
  const auto document =
      json::parse(response->body.value_or(""), {.max_bytes = kMaxAnswer, .max_depth = 16});
  if (!document) return unavailable("the control plane's answer is not JSON");
  auto config = domain::install_config_from_json(*document);
  if (!config) return unavailable(std::string(config.error().code));
  // Whatever is wrong over there: nobody is given the install of another tenant.
  if (config->tenant != tenant) return unavailable("the answer is about another tenant");
  return std::make_shared<const domain::InstallConfig>(std::move(*config));
}

std::string key_of(const TenantId& tenant, const std::string& extension) {
  return tenant.str() + '\n' + extension;
}

bool is_brokered(const Config& config) {
  const auto& envelope = config->envelope;
  return envelope && domain::is_broker_token(*envelope);
}

}  // namespace

/// Under what a question was asked; decides for how long its answer may serve.
struct Question {
  SteadyTime asked;
  bool held = false;  ///< to the feed of changes
  std::uint64_t epoch = 0;
};

struct HttpInstallConfigs::State : std::enable_shared_from_this<State> {
  State(Options given, egress::HttpClient& http, const Clock& time,
        const domain::ChangeFeed* changes)
      : options(std::move(given)), client(http), clock(time), feed(changes) {}

  struct Entry {
    Config config;
    Question question;
    SteadyTime until;     ///< whatever the lease says
    SteadyTime renew_at;  ///< while it serves
  };
  /// A question under way and who waits for its answer: nobody, when it renews ahead.
  struct Flight {
    Question question;
    std::vector<Done> waiting;
  };

  [[nodiscard]] Question new_question() const {
    Question question{.asked = clock.steady()};
    if (feed != nullptr) {
      const domain::ChangeFeed::View view = feed->view();
      question.held = question.asked < view.holding_until;
      question.epoch = view.epoch;
    }
    return question;
  }

  /// Whether a request that begins now may be given what was asked then.
  [[nodiscard]] bool serves(const Question& question) const {
    const SteadyTime now = clock.steady();
    if (!question.held) return now < question.asked + options.lease;
    const domain::ChangeFeed::View view = feed->view();
    return now < view.holding_until && question.epoch == view.epoch;
  }

  Config find(const TenantId& tenant, const std::string& extension) {
    const std::string key = key_of(tenant, extension);
    std::unique_lock lock(mutex);
    const auto found = entries.find(key);
    const SteadyTime now = clock.steady();
    if (found == entries.end() || now >= found->second.until) return nullptr;
    if (!serves(found->second.question)) return nullptr;
    Config config = found->second.config;
    if (now < found->second.renew_at) return config;
    std::shared_ptr<Flight>& place = flights[key];
    if (place != nullptr) return config;
    found->second.renew_at = now + kRenewalPause;
    const auto flight = place = std::make_shared<Flight>(Flight{.question = new_question()});
    lock.unlock();
    fly(key, flight, tenant, extension);
    return config;
  }

  void ask(const TenantId& tenant, const std::string& extension, Done done) {
    const std::string key = key_of(tenant, extension);
    std::unique_lock lock(mutex);
    if (one_each.contains(key)) {
      lock.unlock();
      return ask_alone(tenant, extension, new_question(), std::move(done));
    }
    std::shared_ptr<Flight>& place = flights[key];
    // Who begins after a change does not wait for a question from before it.
    if (place != nullptr && serves(place->question)) {
      place->waiting.push_back(std::move(done));
      return;
    }
    const auto flight = place = std::make_shared<Flight>(Flight{.question = new_question()});
    flight->waiting.push_back(std::move(done));
    lock.unlock();
    fly(key, flight, tenant, extension);
  }

  void fly(const std::string& key, const std::shared_ptr<Flight>& flight, const TenantId& tenant,
           const std::string& extension) {
    send(tenant, extension, flight->question,
         [self = shared_from_this(), key, flight, tenant, extension](Result<Config> outcome) {
           self->finish(key, flight, tenant, extension, std::move(outcome));
         });
  }

  /// For installs with a broker token: it is minted for one request and belongs to the runner that
  /// redeems it first, so no two requests share an answer.
  void ask_alone(const TenantId& tenant, const std::string& extension, const Question& question,
                 Done done) {
    send(tenant, extension, question,
         [self = shared_from_this(), key = key_of(tenant, extension),
          done = std::move(done)](Result<Config> outcome) mutable {
           if (outcome && !is_brokered(*outcome)) {
             const std::scoped_lock lock(self->mutex);
             self->one_each.erase(key);
           }
           done(std::move(outcome));
         });
  }

  void send(const TenantId& tenant, const std::string& extension, const Question& question,
            Done done) {
    auto request = make_request(tenant, extension, question);
    if (!request) return done(unavailable(std::string(request.error().code)));
    client.send(std::move(*request), [tenant, done = std::move(done)](auto response) mutable {
      done(parse_answer(response, tenant));
    });
  }

  Result<egress::ClientRequest> make_request(const TenantId& tenant, const std::string& extension,
                                             const Question& question) const {
    TRY(const Secret token, options.token());
    const boost::json::object body{{"tenantId", tenant.str()}, {"extensionId", extension}};
    egress::ClientRequest request{.method = "POST",
                                  .url = options.url + "/internal/runner/install-config",
                                  .headers = {{"content-type", "application/json"},
                                              {"x-runner-auth", std::string(token.reveal())}},
                                  .body = boost::json::serialize(body),
                                  .timeout = options.timeout,
                                  .max_response_bytes = kMaxAnswer,
                                  .tls = options.tls};
    if (question.held) request.headers.push_back({domain::lease_holder_header, "1"});
    return request;
  }

  void finish(const std::string& key, const std::shared_ptr<Flight>& flight, const TenantId& tenant,
              const std::string& extension, Result<Config> outcome) {
    const bool brokered = outcome && is_brokered(*outcome);
    std::vector<Done> waiting;
    bool over = false;
    Question alone;
    {
      const std::scoped_lock lock(mutex);
      over = closed;
      if (brokered && !over) alone = new_question();
      waiting = std::move(flight->waiting);
      const auto place = flights.find(key);
      const bool newest = place != flights.end() && place->second == flight;
      if (newest) flights.erase(place);
      if (over) {
        // Nobody asks any more, and the feed may be gone.
      } else if (brokered) {
        entries.erase(key);
        if (one_each.size() >= options.max_entries) one_each.clear();
        one_each.insert(key);
      } else if (newest && outcome) {
        keep(key, flight->question, *outcome);
      } else if (newest && outcome.error().kind != Kind::unavailable) {
        entries.erase(key);
      }
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (brokered && i > 0 && over) {
        waiting[i](unavailable("this gateway stops"));
      } else if (brokered && i > 0) {
        ask_alone(tenant, extension, alone, std::move(waiting[i]));
      } else {
        waiting[i](outcome);
      }
    }
  }

  void keep(const std::string& key, const Question& question, const Config& config) {
    const SteadyTime now = clock.steady();
    const std::chrono::milliseconds usable = usable_for(*config);
    const SteadyTime until = now + usable;
    if (until <= now || !serves(question)) return;
    if (entries.size() >= options.max_entries && !entries.contains(key)) {
      std::erase_if(entries, [now](const auto& item) { return item.second.until <= now; });
      if (entries.size() >= options.max_entries) return;  // served, not kept
    }
    entries.insert_or_assign(key, Entry{config, question, until, now + usable / 3});
  }

  /// Half of what its grant and its envelope have left: a runner still has to accept them. No grant
  /// has longer than its longest life, whatever a clock of ours that is behind makes of its end.
  [[nodiscard]] std::chrono::milliseconds usable_for(const domain::InstallConfig& config) const {
    std::chrono::milliseconds left = std::min<std::chrono::milliseconds>(
        config.grant_expires - clock.wall(), domain::longest_grant_life);
    if (config.envelope && config.envelope->expires_at) {
      const std::optional<WallTime> expires = parse_rfc3339(*config.envelope->expires_at);
      if (expires) left = std::min<std::chrono::milliseconds>(left, *expires - clock.wall());
    }
    return left / 2;
  }

  const Options options;
  egress::HttpClient& client;
  const Clock& clock;
  const domain::ChangeFeed* const feed;
  mutable std::mutex mutex;
  bool closed = false;  ///< the object is gone; a renewal may still be under way
  std::unordered_map<std::string, Entry> entries;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights;
  std::unordered_set<std::string> one_each;  ///< whose answers hold a broker token
};

HttpInstallConfigs::HttpInstallConfigs(Options options, egress::HttpClient& client,
                                       const Clock& clock, const domain::ChangeFeed* feed) {
  while (options.url.ends_with('/')) options.url.pop_back();
  state_ = std::make_shared<State>(std::move(options), client, clock, feed);
}

HttpInstallConfigs::~HttpInstallConfigs() {
  const std::scoped_lock lock(state_->mutex);
  state_->closed = true;
}

async::Task<Result<Config>> HttpInstallConfigs::resolve(TenantId tenant, std::string extension) {
  const std::shared_ptr<State> state = state_;
  if (Config config = state->find(tenant, extension)) co_return config;
  // Nobody may put a line break or a kilobyte into the key of a cache.
  if (!is_identifier(extension)) {
    co_return fail(Kind::not_found, "install.not_found", "no such install");
  }
  auto outcome = co_await async::await_callback<Config>(
      [state, tenant, extension](Done done) { state->ask(tenant, extension, std::move(done)); });
  co_return outcome;
}

std::size_t HttpInstallConfigs::entries() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->entries.size();
}

}  // namespace alga::gateway
