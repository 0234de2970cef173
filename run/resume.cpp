#include "run/resume.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/fnv.h"
#include "base/json_text.h"
#include "base/text.h"
#include "base/toml.h"
#include "kernels/self_test.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostDataBytes = 1 << 20;
constexpr std::string_view kRemedy = "resume with the same value, or train under another name";

[[noreturn]] void throw_other(std::string_view key, std::string_view now, std::string_view before,
                              const fs::path& folder) {
  throw InputError(fmt::format("'{}' is {}, but the run was begun with {}", key, now, before),
                   folder.string(), kRemedy);
}

/// Throws for the first difference, which it looks for within lists and their tables.
void check_same(const std::string& key, const ParameterValue& now, const ParameterValue& before,
                const fs::path& folder) {
  const auto* list = std::get_if<ParameterList>(&now.value);
  const auto* old_list = std::get_if<ParameterList>(&before.value);
  if (list != nullptr && old_list != nullptr) {
    for (size_t i = 0; i < std::min(list->size(), old_list->size()); ++i) {
      check_same(fmt::format("{}[{}]", key, i), list->at(i), old_list->at(i), folder);
    }
    if (list->size() == old_list->size()) return;
    throw InputError(fmt::format("'{}' is a list of {}, but the run was begun with one of {}", key,
                                 list->size(), old_list->size()),
                     folder.string(), kRemedy);
  }
  const auto* table = std::get_if<ParameterTable>(&now.value);
  const auto* old_table = std::get_if<ParameterTable>(&before.value);
  // A name alone is short for a table without more.
  const auto long_form = [](const ParameterValue& value) {
    return ParameterValue{ParameterTable{{"name", value}}};
  };
  const auto named = [](const ParameterTable* t) {
    return t != nullptr && find(*t, "name") != nullptr;
  };
  if (named(table) && std::holds_alternative<std::string>(before.value)) {
    return check_same(key, now, long_form(before), folder);
  }
  if (named(old_table) && std::holds_alternative<std::string>(now.value)) {
    return check_same(key, long_form(now), before, folder);
  }
  if (table != nullptr && old_table != nullptr) {
    // Entries of another kind differ in all they have.
    const ParameterValue* name = find(*table, "name");
    const ParameterValue* old_name = find(*old_table, "name");
    if (name != nullptr && old_name != nullptr) check_same(key, *name, *old_name, folder);
    for (const auto& [item, value] : *table) {
      const ParameterValue* old = find(*old_table, item);
      const std::string part = fmt::format("{}.{}", key, item);
      if (old == nullptr) throw_other(part, toml_text(value), "none", folder);
      check_same(part, value, *old, folder);
    }
    for (const auto& [item, value] : *old_table) {
      if (find(*table, item) == nullptr) {
        throw_other(fmt::format("{}.{}", key, item), "none", toml_text(value), folder);
      }
    }
    return;
  }
  if (toml_text(now) != toml_text(before))
    throw_other(key, toml_text(now), toml_text(before), folder);
}

/// Gives the fields whose keys are not given now what the run was begun with.
class KeptFields final : public Fields {
 public:
  KeptFields(const Config& config, const BegunRun& begun)
      : given_(config.given),
        own_normalization_(config.own_normalization),
        begun_(fields_of(begun.config)),
        names_{"'", "'", begun.folder.string(), {}} {}

  void visit(const Field& field, const FieldKind& kind) override {
    if (field.notes.on_resume != OnResume::kept || stands_now(field.key)) return;
    const auto before =
        std::ranges::find(begun_, field.key, [](const DescribedField& f) { return f.field.key; });
    kind.read(GivenValue(before->value, names_, std::string(field.key), "write " + kind.type));
  }
  bool given(std::string_view) const override { return true; }  // no other default moves
  void check(bool, std::string_view, std::string_view, std::string_view) const override {}
  void needs(std::string_view, const Effect&) const override {}

 private:
  bool stands_now(std::string_view key) const {
    return key.starts_with("normalization.") ? own_normalization_ : given_.contains(key);
  }

  std::set<std::string, std::less<>> given_;
  bool own_normalization_;
  std::vector<DescribedField> begun_;
  FieldNames names_;
};

RunData::Split split_of(const Dataset& dataset) {
  std::string names;
  for (const Sample& sample : dataset.samples) names += sample.id + '\n';
  return {static_cast<int64_t>(dataset.samples.size()), fmt::format("{:016x}", fnv1a(names))};
}

bool same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

void check_same_classes(const std::vector<RunData::Class>& now,
                        const std::vector<RunData::Class>& before, const std::string& root) {
  constexpr std::string_view kRemedyForClasses =
      "restore the classes, their order and their ids, or train under another name";
  const auto text = [](const RunData::Class& c) {
    return fmt::format("{} (ids {})", quote(c.name), fmt::join(c.ids, ", "));
  };
  for (size_t i = 0; i < std::min(now.size(), before.size()); ++i) {
    if (now[i] == before[i]) continue;
    throw InputError(fmt::format("class {} is {}, but the run was begun with {}", i, text(now[i]),
                                 text(before[i])),
                     root, kRemedyForClasses);
  }
  if (now.size() != before.size()) {
    throw InputError(fmt::format("there are {} classes, but the run was begun with {}", now.size(),
                                 before.size()),
                     root, kRemedyForClasses);
  }
}

/// Of an older version's run there is no hash, as there was no teacher; of one whose description
/// was removed there is none either.
void check_same_teacher(const Config& config, const RunData& data, const BegunRun& begun) {
  const std::string before = begun.data ? begun.data->teacher : std::string();
  if (begun.data ? data.teacher == before : same_place(config.teacher, begun.config.teacher))
    return;
  const auto text = [](const std::string& file, const std::string& hash) {
    if (file.empty()) return std::string("none");
    return quote(file, 1000) + (hash.empty() ? "" : fmt::format(" (content {})", hash));
  };
  throw_other("teacher", text(config.teacher, data.teacher), text(begun.config.teacher, before),
              begun.folder);
}

/// How a split differs; empty when it does not.
std::string difference(std::string_view name, const RunData::Split& now,
                       const RunData::Split& before) {
  if (now == before) return {};
  if (now.samples != before.samples) {
    return fmt::format("{} {} samples instead of {}", now.samples, name, before.samples);
  }
  return fmt::format("{} {} samples of other names", now.samples, name);
}

}  // namespace

std::string RunCompute::text() const {
  std::string text = device;
  if (threads > 0) text += fmt::format(" with {} thread{}", threads, threads == 1 ? "" : "s");
  return library.empty() ? text : fmt::format("{}, {}", text, library);
}

RunCompute compute_of(const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::cpu) return {device.name, "", 0};
  return {device.name, self_test_library(), omp_get_max_threads()};
}

std::string compute_notice(const RunCompute& now, const BegunRun& begun) {
  if (!begun.data || begun.data->compute.device.empty() || now == begun.data->compute) return {};
  return fmt::format(
      "the run goes on on {}, but was on {}: it rounds otherwise, so that its steps are not bit "
      "for "
      "bit those of a run that never stopped",
      now.text(), begun.data->compute.text());
}

RunData run_data_of(const Dataset& train, const Dataset& val, const LabelSet& labels) {
  RunData data{split_of(train), split_of(val), {}};
  for (const std::string& name : labels.class_names) data.classes.push_back({name, {}});
  for (size_t id = 0; id < labels.label_of_id.size(); ++id) {
    const size_t label = labels.label_of_id[id];
    if (label < data.classes.size()) data.classes[label].ids.push_back(static_cast<int>(id));
  }
  return data;
}

std::string to_json(const RunData& data) {
  const auto split = [](const RunData::Split& s) {
    return Json{{"samples", s.samples}, {"names", s.names}};
  };
  Json classes = Json::array();
  for (const RunData::Class& c : data.classes)
    classes.push_back({{"name", c.name}, {"ids", c.ids}});
  Json json{
      {"train", split(data.train)}, {"val", split(data.val)}, {"classes", std::move(classes)}};
  for (const float weight : data.class_weights) json["class_weights"].push_back(shortest(weight));
  if (!data.teacher.empty()) json["teacher"] = data.teacher;
  if (const RunCompute& c = data.compute; !c.device.empty()) {
    json["compute"] = {{"device", c.device}, {"library", c.library}, {"threads", c.threads}};
  }
  return exact_json_text(json, "a class's name is not UTF-8", "label_set", "rename the class") +
         '\n';
}

std::optional<RunData> read_run_data(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  const auto fail = [&] {
    throw InputError("not the description of a run's samples", file.string(),
                     "remove it: the data set must then lie where it lay");
  };
  RunData data;
  try {
    const Json json = Json::parse(read_file(file, kMostDataBytes));
    const auto split = [](const Json& s) {
      return RunData::Split{s.at("samples").get<int64_t>(), s.at("names").get<std::string>()};
    };
    data = {split(json.at("train")), split(json.at("val")), {}};
    for (const Json& c : json.at("classes")) {
      data.classes.push_back(
          {c.at("name").get<std::string>(), c.at("ids").get<std::vector<int>>()});
    }
    if (json.contains("class_weights")) {
      data.class_weights = json.at("class_weights").get<std::vector<float>>();
    }
    if (json.contains("teacher")) data.teacher = json.at("teacher").get<std::string>();
    if (json.contains("compute")) {
      const Json& c = json.at("compute");
      data.compute = {c.at("device").get<std::string>(), c.at("library").get<std::string>(),
                      c.at("threads").get<int>()};
    }
  } catch (const Json::exception&) {
    fail();
  }
  if (!data.class_weights.empty() && data.class_weights.size() != data.classes.size()) fail();
  return data;
}

BegunRun read_begun_run(const fs::path& folder) {
  const fs::path file = folder / "config.toml";
  if (!fs::exists(file)) {
    throw InputError("no run to resume", folder.string(), "train without --resume");
  }
  return {folder, load_config(file), read_run_data(folder / "data.json")};
}

std::vector<std::string> overrides_of_run_file(const fs::path& file) {
  std::error_code ignored;
  const fs::path path = fs::absolute(file).lexically_normal();
  const fs::path folder = path.parent_path();
  if (path.filename() != "config.toml" || !fs::exists(folder / "last.safetensors", ignored)) {
    return {};
  }
  return {"runs=" + toml_string(folder.parent_path().string()),
          "name=" + toml_string(folder.filename().string())};
}

void keep_begun_defaults(Config& config, const BegunRun& begun) {
  KeptFields kept(config, begun);
  describe(kept, config);
  if (config.auto_batch) {
    config.batch = begun.config.batch;
    config.auto_batch = false;
  }
  if (begun.config.weights.empty()) return;
  // Options that came from the weights are not told from given ones.
  config.network_options.insert(begun.config.network_options.begin(),
                                begun.config.network_options.end());
}

void check_same_configuration(const Config& config, const BegunRun& begun) {
  const std::vector<DescribedField> before = fields_of(begun.config);
  for (const DescribedField& now : fields_of(config)) {
    const FieldNotes& notes = now.field.notes;
    if (notes.on_resume == OnResume::free || notes.on_resume == OnResume::resolved) continue;
    if (!notes.effect.holds) continue;
    const auto old = std::ranges::find(before, now.field.key,
                                       [](const DescribedField& f) { return f.field.key; });
    check_same(std::string(now.field.key), now.value, old->value, begun.folder);
  }
}

void check_same_data(const Config& config, const RunData& data, const BegunRun& begun,
                     bool may_have_moved) {
  check_same_teacher(config, data, begun);
  const DatasetPaths &now = config.dataset, &before = begun.config.dataset;
  const bool moved = !same_place(now.train, before.train) || !same_place(now.val, before.val);
  const auto moved_text = [&] {
    const bool train = !same_place(now.train, before.train);
    return fmt::format("the data set is {}, but the run was begun with {}",
                       quote(train ? now.train : now.val, 1000),
                       quote(train ? before.train : before.val, 1000));
  };
  if (!begun.data) {  // of an older version
    if (moved) throw InputError(moved_text(), begun.folder.string(), kRemedy);
    return;
  }
  check_same_classes(data.classes, begun.data->classes, now.train);
  std::string other = difference("training", data.train, begun.data->train);
  if (other.empty()) other = difference("validation", data.val, begun.data->val);
  if (!other.empty()) {
    throw InputError(moved ? fmt::format("{}, and there are {}", moved_text(), other)
                           : fmt::format("there are {}, which the run was begun with", other),
                     now.train, "resume with the same samples, or train under another name");
  }
  if (moved && !may_have_moved) {
    throw InputError(fmt::format("{}; {} training and {} validation samples of the same names lie "
                                 "there",
                                 moved_text(), data.train.samples, data.val.samples),
                     begun.folder.string(),
                     "if it is the same data set, resume with --dataset-moved");
  }
}

}  // namespace macadam
