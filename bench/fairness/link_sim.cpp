#include "link_sim.h"

namespace forerun::bench {
namespace {

struct Event {
  Time at{};
  uint64_t order = 0;
  bool is_answer = false;
  uint64_t key = 0;   // of an answer
  size_t client = 0;  // that asks
  bool operator>(const Event& other) const {
    return std::tie(at, order) > std::tie(other.at, other.order);
  }
};

class Simulation {
 public:
  Simulation(Policy& policy, const Link& link, const std::vector<Client>& clients, uint64_t seed,
             Watch* watch)
      : policy_(policy), link_(link), clients_(clients), rng_(seed), watch_(watch) {}

  std::vector<Done> run(Nanos span) {
    for (size_t i = 0; i < clients_.size(); ++i)
      for (uint32_t n = 0; n < clients_[i].depth; ++n) ask_later(i, think(clients_[i]));
    while (!events_.empty() && events_.top().at < kTimeZero + span) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      if (event.is_answer)
        answer(event.key);
      else if (event.client < clients_.size())
        ask(event.client);
      serve();
    }
    return std::move(done_);
  }

 private:
  static constexpr size_t kNobody = SIZE_MAX;
  struct Asked {
    size_t client = 0;
    iosched::Request request;
    Time at{};
  };
  Nanos think(const Client& client) {
    if (client.think_max <= 0ms) return 0ms;
    return Nanos(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(client.think_max.count()))));
  }
  void ask_later(size_t client, Nanos after) {
    Time at = now_ + after;
    const Client& who = clients_[client];
    if (who.off > 0ms)  // into its next time of asking
      if (const Nanos phase = (at - kTimeZero) % (who.on + who.off); phase >= who.on)
        at += who.on + who.off - phase;
    events_.push({at, order_++, false, 0, client});
  }
  void ask(size_t client) {
    const Client& who = clients_[client];
    const uint32_t bytes =
        who.bytes_min + static_cast<uint32_t>(rng_.below(who.bytes_max - who.bytes_min + 1));
    const iosched::Request request{next_key_++, who.io_class, who.vm, bytes, now_};
    asked_[request.key] = {client, request, now_};
    policy_.push(request, now_);
    if (watch_ != nullptr) watch_->on_wait(who.vm, ++waiting_[who.vm.value]);
  }
  void serve() {
    while (const auto request = policy_.pull(now_)) {
      if (watch_ != nullptr) watch_->on_wait(request->vm, --waiting_[request->vm.value]);
      const double rate = link_.bytes_per_s * (link_.part ? link_.part(now_) : 1);
      free_at_ = std::max(free_at_, now_ + link_.delay) + from_seconds(request->bytes / rate);
      events_.push({free_at_ + link_.delay, order_++, true, request->key, 0});
    }
    if (const Time at = policy_.ready_at(now_);
        at != kTimeNever && (at < wake_at_ || wake_at_ <= now_)) {
      wake_at_ = at;
      events_.push({at, order_++, false, 0, kNobody});
    }
  }
  void answer(uint64_t key) {
    const auto found = asked_.find(key);
    const Asked asked = found->second;
    asked_.erase(found);
    policy_.on_complete(asked.request, now_);
    done_.push_back({asked.client, asked.at, now_, asked.request.bytes});
    if (watch_ != nullptr) watch_->on_done(done_.back(), asked.request.vm);
    ask_later(asked.client, think(clients_[asked.client]));
  }

  Policy& policy_;
  const Link& link_;
  const std::vector<Client>& clients_;
  Rng rng_;
  Watch* watch_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::map<uint64_t, Asked> asked_;
  std::map<uint32_t, size_t> waiting_;
  std::vector<Done> done_;
  Time now_ = kTimeZero, free_at_ = kTimeZero, wake_at_ = kTimeZero;
  uint64_t order_ = 0, next_key_ = 1;
};

}  // namespace

std::vector<Done> run(Policy& policy, const Link& link, const std::vector<Client>& clients,
                      Nanos span, uint64_t seed, Watch* watch) {
  return Simulation(policy, link, clients, seed, watch).run(span);
}

}  // namespace forerun::bench
