#include "app/training_console.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "engine/infer/metrics.h"

namespace macadam {

namespace {

/// " (ce 0.5000, dice 0.3000)": the terms whose names begin with `prefix`; "" for a single one.
std::string terms_text(const EpochRecord& record, std::string_view prefix) {
  std::vector<std::string> terms;
  for (const Score& term : record.terms) {
    if (!term.name.starts_with(prefix)) continue;
    terms.push_back(fmt::format("{} {}", term.name.substr(prefix.size()), score_text(term.value)));
  }
  return terms.size() < 2 ? "" : fmt::format(" ({})", joined(terms));
}

}  // namespace

void TrainingConsole::on_step(const Progress& p) {
  line_.show(
      p.batch, p.batches,
      std::array{fmt::format("epoch {}/{}", p.epoch, p.epochs), fmt::format("loss {:.4f}", p.loss),
                 fmt::format("{:.2f} images/s", p.images_per_second),
                 fmt::format("{:.1f} ms a batch", 1e3 * p.seconds),
                 fmt::format("{:.1f}% waiting for data", 100 * p.wait_seconds / p.seconds),
                 fmt::format("{:.1f} ms to load a sample", 1e3 * p.load_seconds),
                 fmt::format("{} batches ready", p.ready)});
}

void TrainingConsole::on_phase(const Phase& p) {
  say(fmt::format("up to epoch {}, {} parameters are trained and {} frozen", p.last_epoch,
                  p.trained, p.frozen));
}

void TrainingConsole::on_validation(int64_t batch, int64_t batches) {
  validation_.show(batch, batches);
}

void TrainingConsole::on_epoch(const EpochRecord& r) {
  std::string text =
      fmt::format("epoch {}: train loss {:.4f}{}, val loss {}{}", r.epoch, r.train_loss,
                  terms_text(r, "train_"), score_text(r.val_loss), terms_text(r, "val_"));
  for (size_t i = 0; i < r.scores.size(); ++i) {  // the first by its whole name: by its rule
    const Score& score = r.scores[i];
    text +=
        fmt::format(", {} {}", i == 0 ? score.name : title_of(score.name), score_text(score.value));
  }
  say(text + fmt::format(", {:.1f} s{}", r.seconds, r.best ? ", best so far" : ""));
}

void TrainingConsole::on_recovery(const Recovery& r) {
  say(fmt::format("{}\nback to step {} with half the learning rate (recovery {} of {})", r.reason,
                  r.step, r.count, r.most));
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
