#include "gateway/http_install_configs.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "async/await_callback.h"
#include "domain/envelope.h"
#include "domain/install_config_codec.h"

namespace alga::gateway {
namespace {

using Config = std::shared_ptr<const domain::InstallConfig>;
using Done = Callback<Config>;

constexpr std::uint64_t kMaxAnswer = 8U << 20U;

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

bool is_brokered(const Config& config) {
  return config->envelope && domain::is_broker_token(*config->envelope);
}

}  // namespace

struct HttpInstallConfigs::State : std::enable_shared_from_this<State> {
  State(Options given, egress::HttpClient& http, const Clock& time)
      : options(std::move(given)), client(http), clock(time) {}

  struct Entry {
    Config config;
    SteadyTime until;
  };

  Config find(const std::string& key) {
    const std::scoped_lock lock(mutex);
    const auto found = entries.find(key);
    if (found == entries.end() || clock.steady() >= found->second.until) return nullptr;
    return found->second.config;
  }

  void ask(const TenantId& tenant, const std::string& extension, Done done) {
    const std::string key = tenant.str() + '\n' + extension;
    bool alone = false;
    {
      const std::scoped_lock lock(mutex);
      alone = one_each.contains(key);
      if (!alone) {
        const auto [waiting, first] = flights.try_emplace(key);
        waiting->second.push_back(std::move(done));
        if (!first) return;
      }
    }
    if (alone) return ask_alone(tenant, extension, std::move(done));
    const SteadyTime asked = clock.steady();
    send(tenant, extension,
         [self = shared_from_this(), key, asked, tenant, extension](Result<Config> outcome) {
           self->finish(key, asked, tenant, extension, std::move(outcome));
         });
  }

  /// For installs with a broker token: it is minted for one request and belongs to the runner that
  /// redeems it first, so no two requests share an answer.
  void ask_alone(const TenantId& tenant, const std::string& extension, Done done) {
    send(tenant, extension,
         [self = shared_from_this(), key = tenant.str() + '\n' + extension,
          done = std::move(done)](Result<Config> outcome) mutable {
           if (outcome && !is_brokered(*outcome)) {
             const std::scoped_lock lock(self->mutex);
             self->one_each.erase(key);
           }
           done(std::move(outcome));
         });
  }

  void send(const TenantId& tenant, const std::string& extension, Done done) {
    auto request = make_request(tenant, extension);
    if (!request) return done(unavailable(std::string(request.error().code)));
    client.send(std::move(*request), [tenant, done = std::move(done)](auto response) mutable {
      done(parse_answer(response, tenant));
    });
  }

  Result<egress::ClientRequest> make_request(const TenantId& tenant,
                                             const std::string& extension) const {
    TRY(const Secret token, options.token());
    const boost::json::object body{{"tenantId", tenant.str()}, {"extensionId", extension}};
    return egress::ClientRequest{.method = "POST",
                                 .url = options.url + "/internal/runner/install-config",
                                 .headers = {{"content-type", "application/json"},
                                             {"x-runner-auth", std::string(token.reveal())}},
                                 .body = boost::json::serialize(body),
                                 .timeout = options.timeout,
                                 .max_response_bytes = kMaxAnswer,
                                 .tls = options.tls};
  }

  void finish(const std::string& key, SteadyTime asked, const TenantId& tenant,
              const std::string& extension, Result<Config> outcome) {
    const bool brokered = outcome && is_brokered(*outcome);
    std::vector<Done> waiting;
    {
      const std::scoped_lock lock(mutex);
      auto node = flights.extract(key);
      if (!node.empty()) waiting = std::move(node.mapped());
      if (brokered) {
        entries.erase(key);
        if (one_each.size() >= options.max_entries) one_each.clear();
        one_each.insert(key);
      } else if (outcome) {
        keep(key, asked, *outcome);
      } else {
        entries.erase(key);
      }
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (brokered && i > 0) {
        ask_alone(tenant, extension, std::move(waiting[i]));
      } else {
        waiting[i](outcome);
      }
    }
  }

  void keep(const std::string& key, SteadyTime asked, const Config& config) {
    const SteadyTime now = clock.steady();
    const auto grant_life = config->grant_expires - clock.wall();
    const SteadyTime until = std::min(asked + options.lease, now + grant_life / 2);
    if (until <= now) return;
    if (entries.size() >= options.max_entries && !entries.contains(key)) {
      std::erase_if(entries, [now](const auto& item) { return item.second.until <= now; });
      if (entries.size() >= options.max_entries) return;  // served, not kept
    }
    entries.insert_or_assign(key, Entry{config, until});
  }

  const Options options;
  egress::HttpClient& client;
  const Clock& clock;
  mutable std::mutex mutex;
  std::unordered_map<std::string, Entry> entries;
  std::unordered_map<std::string, std::vector<Done>> flights;
  std::unordered_set<std::string> one_each;  ///< whose answers hold a broker token
};

HttpInstallConfigs::HttpInstallConfigs(Options options, egress::HttpClient& client,
                                       const Clock& clock) {
  while (options.url.ends_with('/')) options.url.pop_back();
  state_ = std::make_shared<State>(std::move(options), client, clock);
}

HttpInstallConfigs::~HttpInstallConfigs() = default;

async::Task<Result<Config>> HttpInstallConfigs::resolve(TenantId tenant, std::string extension) {
  const std::shared_ptr<State> state = state_;
  if (Config config = state->find(tenant.str() + '\n' + extension)) co_return config;
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
