#include "engine/admission.h"

#include <utility>

namespace alga::engine {

Admission::Answer Admission::obstacle(const Tenant& tenant, const Install& install) const {
  if (tenant.running >= bounds_.running_per_tenant) return Answer::tenant_full;
  if (install.running >= bounds_.running_per_install) return Answer::install_full;
  return running_ >= bounds_.running ? Answer::full : Answer::admitted;
}

void Admission::take_place(Tenant& tenant, Install& install) {
  ++running_;
  ++tenant.running;
  ++install.running;
}

Admission::Answer Admission::ask(const JobPtr& job, bool may_wait) {
  Tenant& tenant = tenants_[job->tenant()];
  Install& install = tenant.installs[job->install()];
  Answer answer = obstacle(tenant, install);
  // Whoever waits could not be admitted when the last place became free, and none did since: with
  // no obstacle of its own the job passes nobody but those who wait for another bound.
  if (answer == Answer::admitted && install.waiting.empty()) {
    take_place(tenant, install);
    return answer;
  }
  if (tenant.waiting >= bounds_.waiting_per_tenant) {
    answer = Answer::tenant_full;
  } else if (install.waiting.size() >= bounds_.waiting_per_install) {
    if (answer != Answer::tenant_full) answer = Answer::install_full;
  } else if (may_wait && waiting_ < bounds_.waiting) {
    if (tenant.waiting == 0) tenant.turn = turns_.insert(turns_.end(), job->tenant());
    if (install.waiting.empty()) {
      install.turn = tenant.turns.insert(tenant.turns.end(), job->install());
    }
    job->in_line_ = install.waiting.insert(install.waiting.end(), job);
    job->waiting_ = true;
    ++tenant.waiting;
    ++waiting_;
    return Answer::waits;
  }
  tidy(*job);
  return answer == Answer::admitted ? Answer::full : answer;
}

void Admission::take_out(Job& job, Tenant& tenant, Install& install) {
  install.waiting.erase(job.in_line_);
  job.waiting_ = false;
  --tenant.waiting;
  --waiting_;
}

JobPtr Admission::next() {
  if (running_ >= bounds_.running) return nullptr;
  for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
    Tenant& tenant = tenants_.find(*turn)->second;
    for (auto inner = tenant.turns.begin(); inner != tenant.turns.end(); ++inner) {
      Install& install = tenant.installs.find(*inner)->second;
      const Answer answer = obstacle(tenant, install);
      if (answer == Answer::tenant_full) break;
      if (answer != Answer::admitted) continue;
      JobPtr job = install.waiting.front();
      take_out(*job, tenant, install);
      take_place(tenant, install);
      // To the end of both lines, or out of them.
      tenant.turns.splice(tenant.turns.end(), tenant.turns, inner);
      if (install.waiting.empty()) tenant.turns.pop_back();
      turns_.splice(turns_.end(), turns_, turn);
      if (tenant.waiting == 0) turns_.pop_back();
      return job;
    }
  }
  return nullptr;
}

void Admission::leave(const Job& job) {
  Tenant& tenant = tenants_.find(job.tenant())->second;
  --running_;
  --tenant.running;
  --tenant.installs.find(job.install())->second.running;
  tidy(job);
}

void Admission::squeeze_in(const JobPtr& job) {
  Tenant& tenant = tenants_.find(job->tenant())->second;
  Install& install = tenant.installs.find(job->install())->second;
  take_place(tenant, install);
  (void)give_up(job);
}

Admission::Answer Admission::give_up(const JobPtr& job) {
  Tenant& tenant = tenants_.find(job->tenant())->second;
  Install& install = tenant.installs.find(job->install())->second;
  const Answer answer = obstacle(tenant, install);
  take_out(*job, tenant, install);
  if (install.waiting.empty()) tenant.turns.erase(install.turn);
  if (tenant.waiting == 0) turns_.erase(tenant.turn);
  tidy(*job);
  return answer == Answer::admitted ? Answer::full : answer;
}

std::vector<JobPtr> Admission::give_up_all() {
  std::vector<JobPtr> out;
  for (const std::string& name : turns_) {
    Tenant& tenant = tenants_.find(name)->second;
    for (const std::string& install : std::exchange(tenant.turns, {})) {
      for (JobPtr& job : std::exchange(tenant.installs.find(install)->second.waiting, {})) {
        job->waiting_ = false;
        out.push_back(std::move(job));
      }
    }
    tenant.waiting = 0;
  }
  turns_.clear();
  waiting_ = 0;
  for (const JobPtr& job : out) tidy(*job);
  return out;
}

bool Admission::anybody_waits(const std::string& tenant) const {
  const auto found = tenants_.find(tenant);
  return found != tenants_.end() && found->second.waiting != 0;
}

void Admission::tidy(const Job& job) {
  const auto found = tenants_.find(job.tenant());
  if (found == tenants_.end()) return;
  auto& installs = found->second.installs;
  const auto install = installs.find(job.install());
  if (install != installs.end() && install->second.running == 0 &&
      install->second.waiting.empty()) {
    installs.erase(install);
  }
  if (installs.empty()) tenants_.erase(found);
}

}  // namespace alga::engine
