#include "app/training_console.h"

#include <fmt/format.h>

#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "app/memory.h"
#include "base/text.h"
#include "engine/infer/metrics.h"

namespace macadam {

namespace {

/// " (ce 0.5000, dice 0.3000)": the terms whose names begin with `prefix`; "" for a single one.
std::string terms_text(std::span<const Score> all, std::string_view prefix) {
  std::vector<std::string> terms;
  for (const Score& term : all) {
    if (!term.name.starts_with(prefix)) continue;
    terms.push_back(fmt::format("{} {}", term.name.substr(prefix.size()), score_text(term.value)));
  }
  return terms.size() < 2 ? "" : fmt::format(" ({})", joined(terms));
}

/// "42 s", "3 min 20 s", "2 h 05 min".
std::string duration_text(double seconds) {
  constexpr int64_t kMinute = 60, kHour = 3600;
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < kMinute) return fmt::format("{} s", whole);
  if (whole < kHour) return fmt::format("{} min {:02} s", whole / kMinute, whole % kMinute);
  return fmt::format("{} h {:02} min", whole / kHour, whole % kHour / kMinute);
}

}  // namespace

void TrainingConsole::on_step(const Progress& p) {
  constexpr double kWorthSaying = 0.01;  // of the time
  std::vector<std::string> details{fmt::format("epoch {}/{}", p.epoch, p.epochs),
                                   fmt::format("loss {:.4f}{}", p.loss, terms_text(p.terms, "")),
                                   fmt::format("{:.2f} images/s", p.images_per_second),
                                   fmt::format("{} left", duration_text(p.seconds_left)),
                                   fmt::format("lr {:.2g}", p.lr)};
  if (!std::isnan(p.best_score)) {
    details.push_back(fmt::format("best mean IoU {}", score_text(p.best_score)));
  }
  if (p.wait_seconds > kWorthSaying * p.seconds) {
    details.push_back(fmt::format("{:.1f}% waiting for data, {:.1f} ms to load a sample",
                                  100 * p.wait_seconds / p.seconds, 1e3 * p.load_seconds));
  }
  details.push_back(fmt::format("{} MiB", peak_memory() >> 20));
  line_.show(p.batch, p.batches, details);
}

void TrainingConsole::on_phase(const Phase& p) {
  say(fmt::format("up to epoch {}, {} parameters are trained and {} frozen", p.last_epoch,
                  p.trained, p.frozen));
}

void TrainingConsole::on_validation(int64_t batch, int64_t batches) {
  validation_.show(batch, batches);
}

void TrainingConsole::on_epoch(const EpochRecord& r) {
  std::string text = fmt::format("epoch {}: train loss {:.4f}{}, val loss {}{}", r.epoch,
                                 r.train_loss, terms_text(r.terms, "train_"),
                                 score_text(r.val_loss), terms_text(r.terms, "val_"));
  for (size_t i = 0; i < r.scores.size(); ++i) {  // the first by its whole name: by its rule
    const Score& score = r.scores[i];
    text +=
        fmt::format(", {} {}", i == 0 ? score.name : title_of(score.name), score_text(score.value));
  }
  say(text + fmt::format(", {:.1f} s{}", r.seconds, r.best ? ", best so far" : ""));
}

void TrainingConsole::on_recovery(const Recovery& r) {
  say(r.reason);
  say(fmt::format("back to step {} with half the learning rate (recovery {} of {})", r.step,
                  r.count, r.most));
}

void TrainingConsole::on_average(const Average& a) {
  say(fmt::format("average of the epochs {}: {} {}, val loss {}; average.safetensors",
                  fmt::join(a.epochs, ", "), a.scores.front().name,
                  score_text(a.scores.front().value), score_text(a.val_loss)));
}

void TrainingConsole::on_weights(const std::string& report) {
  say(Lines{std::string_view(report).substr(0, report.size() - 1)});  // without the last newline
}

}  // namespace macadam
