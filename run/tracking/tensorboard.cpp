#include "run/tracking/tensorboard.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "image/image.h"
#include "run/tracking/event_file.h"

namespace macadam {

namespace {

constexpr std::string_view kSteps = "steps/", kHyperparameters = "_hparams_/";

ProtoMessage value_of(const std::string& tag) { return std::move(ProtoMessage().bytes(1, tag)); }

/// SummaryMetadata that names a plugin.
ProtoMessage plugin(std::string_view name, const std::string& content) {
  return std::move(ProtoMessage().message(1, ProtoMessage().bytes(1, name).bytes(2, content)));
}

/// google.protobuf.Value: a number where the text is one.
ProtoMessage parameter_value(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && stop == end) return std::move(ProtoMessage().number(2, number));
  if (text == "true" || text == "false") {
    return std::move(ProtoMessage().integer(4, text == "true" ? 1 : 0));
  }
  return std::move(ProtoMessage().bytes(3, text));
}

/// A table in Markdown, which the plugin for text shows.
std::string markdown_of(std::span<const TrackedParameter> parameters) {
  std::string text = "| key | value |\n|---|---|\n";
  for (const auto& [key, value] : parameters) {
    std::string cell = value;
    std::ranges::replace(cell, '\n', ' ');
    std::ranges::replace(cell, '|', '/');
    text += fmt::format("| {} | {} |\n", key, cell);
  }
  return text;
}

class TensorBoard final : public Tracker {
 public:
  TensorBoard(const TensorBoardOptions& options, std::span<const TrackedParameter> parameters,
              std::function<void(const std::string&)> notice)
      : path_(options.folder / "events.out.tfevents.macadam"),
        score_(options.score),
        parameters_(parameters.begin(), parameters.end()),
        notice_(std::move(notice)) {
    attempt([&] { open(options.epoch, options.steps); });
  }

  int64_t known_epoch() const override { return known_epoch_; }

  void update(int64_t step, double loss, double lr) override {
    attempt([&] {
      scalar(step, "steps/loss", loss);
      scalar(step, "steps/lr", lr);
    });
  }

  void epoch(const EpochRecord& record) override {
    attempt([&] {
      const auto add = [&](const std::string& tag, double value) {
        scalar(record.epoch, tag, value);
      };
      add("loss/train", record.train_loss);
      add("loss/val", record.val_loss);
      for (const Score& term : record.terms) add("loss/" + term.name, term.value);
      for (const Score& score : record.scores) add(std::string(kScores) + score.name, score.value);
      add("epoch/lr", record.lr);
      add("epoch/seconds", record.seconds);
      add("epoch/images_per_second", record.images_per_second);
      add("epoch/data_wait_seconds", record.data_wait_seconds);
    });
    known_epoch_ = record.epoch;
  }

  void classes(int64_t epoch, std::span<const Score> ious) override {
    attempt([&] {
      for (const Score& iou : ious) scalar(epoch, "iou/" + iou.name, iou.value);
    });
  }

  void pictures(int64_t epoch, std::span<const TrackedPicture> pictures) override {
    attempt([&] {
      for (const auto& [name, picture] : pictures) {
        const std::vector<uint8_t> png = encode_png(picture);
        ProtoMessage image;
        image.integer(1, picture.height).integer(2, picture.width).integer(3, 3);
        image.bytes(4, {reinterpret_cast<const char*>(png.data()), png.size()});
        file_->add(epoch, value_of("best/" + name).message(4, image));
      }
    });
  }

  void recover(int64_t epoch, int64_t steps) override {
    attempt([&] {
      file_.reset();
      open(epoch, steps);
    });
  }

  void end(TrainingEnd end) override {
    constexpr int kSuccess = 1;
    if (end != TrainingEnd::interrupted) close(kSuccess);
  }

  void fail() override {
    constexpr int kFailure = 2;
    close(kFailure);
  }

 private:
  static constexpr std::string_view kScores = "scores/";

  /// Where the run has got to.
  void open(int64_t epoch, int64_t steps) {
    file_.emplace(
        path_, [&](std::string_view tag, int64_t step) { return keeps(tag, step, epoch, steps); });
    describe(parameters_);
  }

  void close(int status) {
    attempt([&] {
      const ProtoMessage done = std::move(ProtoMessage().integer(1, status));
      hyperparameters("session_end_info", 4, done);
    });
  }

  bool keeps(std::string_view tag, int64_t step, int64_t epoch, int64_t steps) {
    if (tag.starts_with(kHyperparameters) || tag.starts_with("configuration/")) return false;
    if (tag.starts_with(kSteps)) return step < steps;
    if (step <= epoch && tag.starts_with(kScores)) known_epoch_ = std::max(known_epoch_, step);
    return step <= epoch;
  }

  void describe(std::span<const TrackedParameter> parameters) {
    constexpr int kString = 7;  // DT_STRING
    ProtoMessage table;
    table.integer(1, kString);
    table.message(2, ProtoMessage().message(2, ProtoMessage().integer(1, 1)));
    table.bytes(8, markdown_of(parameters));
    file_->add(
        0, value_of("configuration/text_summary").message(8, table).message(9, plugin("text", "")));

    ProtoMessage experiment, start;
    for (const auto& [key, value] : parameters) {
      experiment.message(5, ProtoMessage().bytes(1, key));
      start.message(1, ProtoMessage().bytes(1, key).message(2, parameter_value(value)));
    }
    for (const std::string& tag :
         {std::string(kScores) + score_, std::string(kScores) + "pixel_accuracy",
          std::string("loss/val")}) {
      experiment.message(6, ProtoMessage().message(1, ProtoMessage().bytes(2, tag)));
    }
    hyperparameters("experiment", 2, experiment);
    hyperparameters("session_start_info", 3, start);
  }

  /// HParamsPluginData with one of its messages.
  void hyperparameters(const char* tag, int field, const ProtoMessage& message) {
    const ProtoMessage data = std::move(ProtoMessage().integer(1, 0).message(field, message));
    file_->add(
        0,
        value_of(std::string(kHyperparameters) + tag).message(9, plugin("hparams", data.text())));
  }

  void scalar(int64_t step, const std::string& tag, double value) {
    if (!std::isfinite(value)) return;
    file_->add(step, value_of(tag).small_number(2, static_cast<float>(value)));
  }

  /// Once it has failed the file is left alone.
  template <typename Write>
  void attempt(const Write& write) {
    if (failed_) return;
    try {
      write();
      if (file_) file_->flush();
    } catch (const Error& error) {
      failed_ = true;
      notice_(fmt::format("{}; training goes on without TensorBoard's file", error.what()));
    }
  }

  const std::filesystem::path path_;
  const std::string score_;
  const std::vector<TrackedParameter> parameters_;
  std::optional<EventFile> file_;
  std::function<void(const std::string&)> notice_;
  int64_t known_epoch_ = 0;
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Tracker> make_tensorboard(const TensorBoardOptions& options,
                                          std::span<const TrackedParameter> parameters,
                                          std::function<void(const std::string&)> notice) {
  return std::make_unique<TensorBoard>(options, parameters, std::move(notice));
}

}  // namespace macadam
