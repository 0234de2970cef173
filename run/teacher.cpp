#include "run/teacher.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/fnv.h"
#include "base/text.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

constexpr size_t kMostBytes = size_t{1} << 40;

void check_classes(const TeacherFile& teacher, const LabelSet& labels) {
  const ModelInfo& info = teacher.model.info;
  const std::vector<std::string>&theirs = info.class_names, &ours = labels.class_names;
  if (theirs == ours) return;
  std::string what =
      fmt::format("the teacher has the {} classes of label set {}, the run the {} of {}",
                  theirs.size(), quote(info.label_set), ours.size(), quote(labels.name));
  const auto [there, here] = std::ranges::mismatch(theirs, ours);
  if (there != theirs.end() && here != ours.end()) {
    what += fmt::format("; class {} is {} there and {} here", there - theirs.begin(), quote(*there),
                        quote(*here));
  }
  throw InputError(what, teacher.path.string(),
                   "choose a teacher of the run's classes, or train with its label_set and void");
}

void check_network(const TeacherFile& teacher, const Config& config) {
  const ModelInfo& info = teacher.model.info;
  try {
    find_segmentation_network(info.network);
    build_network(network_spec(info), {config.batch, config.height, config.width, 3});
  } catch (const InputError& error) {
    throw InputError(fmt::format("the teacher cannot see the run's images ({})", error.what()),
                     teacher.path.string(),
                     "train at a size that both networks take, or choose another teacher");
  }
}

}  // namespace

std::optional<TeacherFile> open_teacher(const Config& config, const LabelSet& labels) {
  if (config.teacher.empty()) return std::nullopt;
  const FileBytes content(config.teacher, kMostBytes);
  TeacherFile teacher{config.teacher, parse_model(content.bytes(), config.teacher),
                      fmt::format("{:016x}", fnv1a(content.bytes()))};
  check_classes(teacher, labels);
  check_network(teacher, config);
  return teacher;
}

TeacherOptions teacher_options(const ModelInfo& model, const Config& config, int batch) {
  return {.graph = build_network(network_spec(model), {batch, config.height, config.width, 3}),
          .normalization = model.normalization,
          .distill = config.distill};
}

}  // namespace macadam
