#pragma once
// The teacher of a training run: a trained model to whose scores the network's are drawn.

#include <filesystem>
#include <optional>
#include <string>

#include "engine/model/model_file.h"
#include "engine/train/teacher.h"
#include "loader/label_set.h"
#include "run/config.h"

namespace macadam {

struct TeacherFile {
  std::filesystem::path path;
  Model model;
  std::string hash;  // of the file's content
};

/// The teacher that `config` names, if it does, for a network of these classes. Throws InputError
/// when the file is not a model, it has other classes, or its network does not take the run's size.
std::optional<TeacherFile> open_teacher(const Config& config, const LabelSet& labels);

/// For batches of `batch` photos, but for the parameters. Requires a model that open_teacher takes.
TeacherOptions teacher_options(const ModelInfo& model, const Config& config, int batch);

}  // namespace macadam
