// Launches as the API tells them: what is expected, what was fetched for it, what came of it.
// docs/launches.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace forerun::api {

struct LaunchPieceInfo {
  std::string name;        // "seasonal", "chow_liu", "recency", …
  double probability = 0;  // that it said
  double weight = 0;       // in the mix; may be negative
};

struct LaunchForecastInfo {
  std::string image;       // its name, or "a+b+c": a disk of these components
  double probability = 0;  // of at least one launch here within the horizon
  double expected_launches = 0;
  int64_t due_unix_seconds = 0;  // of the first launch, if one comes
  std::vector<LaunchPieceInfo> pieces;
  // What a boot of it is foreseen to read, and how much of that is in the tier; 0 unless it is
  // likely enough to be fetched for.
  uint64_t foreseen_bytes = 0, foreseen_here_bytes = 0, foreseen_chunks = 0;
  bool window_open = false;  // it was fetched for, and the horizon is not over
};

// A component that images with a forecast are made of.
struct LaunchComponentInfo {
  std::string component;
  double probability = 0;           // that a launch of any of these images comes within the horizon
  int64_t due_unix_seconds = 0;     // of the first launch of the likeliest of them
  std::vector<std::string> images;  // likeliest first
};

// One image fetched for, once.
struct LaunchWindowInfo {
  std::string image;
  double probability = 0;
  int64_t opened_unix_seconds = 0, launched_unix_seconds = 0;  // launched: 0: not yet, or never
  std::string outcome;                                         // "open", "hit", "late", "wasted"
  uint64_t foreseen_bytes = 0, fetched_bytes = 0, used_bytes = 0, wasted_bytes = 0;
};

struct LaunchMethodInfo {
  std::string name;  // "forerun", "last_value", "most_frequent"
  uint64_t windows = 0, windows_hit = 0, windows_wasted = 0, launches_ready = 0;
  uint64_t bytes = 0;  // of images, each window counted again
};

struct LaunchScoreInfo {
  int64_t from_unix_seconds = 0;
  uint64_t launches = 0, launches_late = 0, windows_late = 0;
  uint64_t fetched_bytes = 0, used_bytes = 0, wasted_bytes = 0;
  std::vector<LaunchMethodInfo> methods;
};

struct LaunchReport {
  std::string state = "off";  // off, learning, observe, on, muted
  std::string host;
  double period_seconds = 0, horizon_seconds = 0, probability_min = 0;
  double came_true_ratio = 1;  // of what was said likely enough, recently
  uint64_t ticks_learned = 0;
  uint64_t history_lines = 0, history_bytes = 0, history_refused_lines = 0, history_images = 0;
  std::string history_first_refusal;
  int64_t history_first_unix_seconds = 0, history_last_unix_seconds = 0;
  uint64_t budget_bytes_max = 0, budget_bytes = 0, undecided_bytes = 0;
  std::vector<LaunchForecastInfo> forecast;     // likeliest first
  std::vector<LaunchComponentInfo> components;  // of those images, as far as known; likeliest first
  std::vector<LaunchWindowInfo> windows;        // newest first
  LaunchScoreInfo total;                        // since the daemon started
  std::vector<LaunchScoreInfo> hours;           // oldest first
};

struct LaunchImportRequest {
  std::string source_path;  // absolute, on the daemon's host
};

struct LaunchImportInfo {
  uint64_t added_lines = 0, known_lines = 0;
};

}  // namespace forerun::api
