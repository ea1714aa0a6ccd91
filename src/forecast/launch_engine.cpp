#include "forecast/launch_engine.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "forecast/launch_pieces.h"

namespace forerun::forecast {
namespace {

constexpr float kSmallest = 1e-5F;  // no probability is said to be 0 or 1

double cost_of(float probability, bool happened) {
  const double chance = std::clamp(probability, kSmallest, 1 - kSmallest);
  return -std::log(happened ? chance : 1 - chance);
}

double number_of(float probability) {
  return -std::log1p(-static_cast<double>(std::clamp(probability, kSmallest, 1 - kSmallest)));
}

}  // namespace

Result<std::unique_ptr<LaunchEngine>> LaunchEngine::make(const LaunchShape& shape,
                                                         Options options) {
  if (shape.hosts == 0 || shape.manifests == 0 || shape.tick_s == 0 || shape.window_ticks == 0 ||
      shape.tenants == 0)
    return fail(ErrorCode::kInvalid,
                "launch prediction needs at least one host, manifest, second, tick and tenant");
  if (shape.hosts > kLaunchHostsMax || shape.manifests > kLaunchManifestsMax ||
      shape.cells() > kLaunchCellsMax || shape.window_ticks > kLaunchWindowTicksMax ||
      shape.tenants > kLaunchTenantsMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} hosts × {} manifests × {} ticks, {} tenants are over the limits of "
                            "launch prediction ({}, {}, {}, {}; {} cells)",
                            shape.hosts, shape.manifests, shape.window_ticks, shape.tenants,
                            kLaunchHostsMax, kLaunchManifestsMax, kLaunchWindowTicksMax,
                            kLaunchTenantsMax, kLaunchCellsMax));
  FR_TRY(auto pieces, make_launch_pieces(options.pieces, shape));
  return std::unique_ptr<LaunchEngine>(
      new LaunchEngine(shape, std::move(options), std::move(pieces)));
}

LaunchEngine::LaunchEngine(const LaunchShape& shape, Options options,
                           std::vector<std::unique_ptr<LaunchPiece>> pieces)
    : shape_(shape),
      options_(std::move(options)),
      pieces_(std::move(pieces)),
      mix_(shape.manifests, pieces_.size(), options_.mix),
      volume_(shape, LaunchUnit::kLaunches),
      placement_(shape, LaunchUnit::kLaunches),
      foresight_{std::vector<float>(shape.cells()), std::vector<double>(shape.cells())},
      said_(shape.cells()),
      volumes_(shape.manifests),
      losses_(pieces_.size() + 1),
      manifest_launches_(shape.manifests) {}

const LaunchEngine::Foresight& LaunchEngine::foresee(int64_t tick) {
  const size_t pieces = pieces_.size();
  Pending pending{tick, std::vector<float>(shape_.cells() * pieces),
                  std::vector<float>(shape_.cells()), std::vector<bool>(shape_.cells())};
  for (size_t k = 0; k < pieces; ++k) {
    pieces_[k]->foresee(tick, said_);
    for (size_t c = 0; c < said_.size(); ++c) pending.logits[c * pieces + k] = logit(said_[c]);
  }
  volume_.foresee(tick, volumes_);
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const size_t c = shape_.cell(h, m);
      const auto logits = std::span(pending.logits).subspan(c * pieces, pieces);
      const float mixed = mix_.mix(m, logits);
      pending.mixed[c] = foresight_.probability[c] = mixed;
      // Against the first piece: it deals volumes to hosts as the expected number does.
      const double first = number_of(1 / (1 + std::exp(-logits[0])));
      foresight_.expected[c] =
          volumes_[m] * placement_.share(h, m) * std::pow(number_of(mixed) / first, options_.tilt);
    }
  pending_.push_back(std::move(pending));
  if (pending_.size() > shape_.window_ticks) pending_.pop_front();
  return foresight_;
}

void LaunchEngine::learn(int64_t tick, std::span<const Launched> launched,
                         std::span<const Stopped> stopped) {
  for (auto& piece : pieces_) {
    if (!stopped.empty()) piece->learn_stops(tick, stopped);
    piece->learn(tick, launched);
  }
  volume_.learn(tick, launched);
  placement_.learn(tick, launched);
  for (const Launched& one : launched) manifest_launches_[one.manifest] += one.launches;
  for (Pending& pending : pending_) {
    if (tick < pending.tick || tick >= pending.tick + shape_.window_ticks) continue;
    for (const Launched& one : launched)
      pending.happened[shape_.cell(one.host, one.manifest)] = true;
    // A window with a tick that nobody observed has no outcome.
    if (++pending.ticks_seen == shape_.window_ticks) settle(pending);
  }
}

void LaunchEngine::settle(const Pending& pending) {
  const size_t pieces = pieces_.size();
  for (size_t c = 0; c < pending.mixed.size(); ++c) {
    const auto logits = std::span(pending.logits).subspan(c * pieces, pieces);
    const bool happened = pending.happened[c];
    mix_.learn(c % shape_.manifests, logits, pending.mixed[c], happened);
    reliability_.add(pending.mixed[c], happened);
    for (size_t k = 0; k < pieces; ++k)
      losses_[k] += cost_of(1 / (1 + std::exp(-logits[k])), happened);
    losses_[pieces] += cost_of(pending.mixed[c], happened);
  }
  outcomes_ += pending.mixed.size();
}

std::vector<LaunchPrediction> LaunchEngine::ranked(size_t count) const {
  std::vector<size_t> cells(foresight_.probability.size());
  for (size_t c = 0; c < cells.size(); ++c) cells[c] = c;
  count = std::min(count, cells.size());
  const auto likelier = [&](size_t a, size_t b) {
    const float pa = foresight_.probability[a], pb = foresight_.probability[b];
    return pa != pb ? pa > pb : a < b;
  };
  std::partial_sort(cells.begin(), cells.begin() + static_cast<std::ptrdiff_t>(count), cells.end(),
                    likelier);
  std::vector<LaunchPrediction> best;
  for (size_t i = 0; i < count; ++i)
    best.push_back(prediction(static_cast<uint32_t>(cells[i] / shape_.manifests),
                              static_cast<uint32_t>(cells[i] % shape_.manifests)));
  return best;
}

LaunchPrediction LaunchEngine::prediction(uint32_t host, uint32_t manifest) const {
  const size_t c = shape_.cell(host, manifest);
  const double window_s = static_cast<double>(shape_.window_ticks) * shape_.tick_s;
  // The mean of an exponential time that is known to end within the window.
  const double number = number_of(foresight_.probability[c]);
  const double part = number < 1e-3 ? 0.5 : 1 / number - 1 / std::expm1(number);
  return {.host = host,
          .manifest = manifest,
          .probability = foresight_.probability[c],
          .expected_launches = static_cast<float>(foresight_.expected[c]),
          .due_s = static_cast<float>(window_s * part)};
}

std::vector<PieceSaid> LaunchEngine::said(uint32_t host, uint32_t manifest) const {
  std::vector<PieceSaid> said;
  if (pending_.empty()) return said;
  const float* logits =
      pending_.back().logits.data() + shape_.cell(host, manifest) * pieces_.size();
  for (size_t k = 0; k < pieces_.size(); ++k)
    said.push_back({pieces_[k]->name(), 1 / (1 + std::exp(-logits[k])), mix_.weights(manifest)[k]});
  return said;
}

void LaunchEngine::reset_scores() {
  reliability_ = {};
  std::fill(losses_.begin(), losses_.end(), 0.0);
  outcomes_ = 0;
}

std::vector<PieceScore> LaunchEngine::scores() const {
  std::vector<PieceScore> scores;
  const double outcomes = std::max<double>(1, static_cast<double>(outcomes_));
  for (size_t k = 0; k <= pieces_.size(); ++k) {
    PieceScore score{.name = k < pieces_.size() ? std::string(pieces_[k]->name()) : "mix",
                     .log_loss = losses_[k] / outcomes};
    size_t launched = 0;
    for (size_t m = 0; m < manifest_launches_.size() && k < pieces_.size(); ++m) {
      if (manifest_launches_[m] == 0) continue;
      score.weight_mean += mix_.weights(m)[k];
      ++launched;
    }
    score.weight_mean /= static_cast<double>(std::max<size_t>(1, launched));
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace forerun::forecast
