#include "cli/progress.h"

#include "cli/context.h"
#include "cli/text.h"

namespace forerun::cli {

Progress::Style Progress::style_for(const Context& context) {
  if (context.output == Output::kJsonLines) return Style::kNone;
  return context.is_error_terminal ? Style::kBar : Style::kLines;
}

std::string Progress::describe(const ProgressState& state, Time now) const {
  const double seconds = to_seconds(now - started_);
  const double rate = seconds > 0 ? static_cast<double>(state.done_bytes) / seconds : 0;
  if (state.done_bytes == 0 && state.total_bytes == 0 && !state.message.empty())
    return state.message;  // work that is not counted in bytes
  std::string text = show_bytes(static_cast<double>(state.done_bytes));
  if (state.total_bytes > 0) text += " of " + show_bytes(static_cast<double>(state.total_bytes));
  if (rate > 0) {
    text += ", " + show_rate(rate);
    if (state.total_bytes > state.done_bytes) {
      text += fmt::format(
          ", {} left",
          show_seconds(static_cast<double>(state.total_bytes - state.done_bytes) / rate));
    }
  }
  if (!state.message.empty()) text += " · " + state.message;
  return text;
}

std::string Progress::update(const ProgressState& state, Time now) {
  const double share = state.total_bytes == 0
                           ? 0
                           : std::min(1.0, static_cast<double>(state.done_bytes) /
                                               static_cast<double>(state.total_bytes));
  if (style_ == Style::kBar) {
    constexpr size_t kWidth = 24;
    const auto filled = static_cast<size_t>(share * kWidth);
    bar_shown_ = true;
    if (state.total_bytes == 0) return fmt::format("\r{}\x1b[K", describe(state, now));
    // \r back to the start, then ESC[K: forget what was longer before.
    return fmt::format("\r[{}{}] {:3.0f} % {}\x1b[K", std::string(filled, '#'),
                       std::string(kWidth - filled, '.'), share * 100, describe(state, now));
  }
  if (style_ == Style::kNone || now - last_line_ < 10s) return "";
  last_line_ = now;
  if (state.total_bytes == 0) return describe(state, now) + "\n";
  return fmt::format("{:.0f} % {}\n", share * 100, describe(state, now));
}

std::string Progress::finish() { return bar_shown_ ? "\n" : ""; }

}  // namespace forerun::cli
