#include "app/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <variant>

#include "app/config_source.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/text.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostDataBytes = 1 << 20;
constexpr std::string_view kRemedy = "resume with the same value, or train under another name";

/// Keys that may change between the parts of one run: they alter no result of the steps to come,
/// but for `epochs`, which stretches the learning-rate schedule of those. What label_set, void and
/// precision come to is compared instead of the words.
constexpr std::array<std::string_view, 13> kFree{"label_set",
                                                 "void",
                                                 "epochs",
                                                 "device",
                                                 "loader.threads",
                                                 "loader.cache",
                                                 "loader.strict",
                                                 "loader.device_cache",
                                                 "early_stopping.patience",
                                                 "checkpoint_seconds",
                                                 "name",
                                                 "runs",
                                                 "precision"};

bool is_compared(std::string_view key) {
  return std::ranges::find(kFree, key) == kFree.end() && key != "network" &&
         !key.starts_with("network.") && key != "dataset" && !key.starts_with("dataset.");
}

/// As TOML writes it.
std::string text_of(const ParameterValue& value) {
  const auto text = [](const auto& v) -> std::string {
    using T = std::decay_t<decltype(v)>;
    std::vector<std::string> items;
    if constexpr (std::is_same_v<T, std::string>) {
      return toml_string(v);
    } else if constexpr (std::is_same_v<T, ParameterList>) {
      for (const ParameterValue& item : v) items.push_back(text_of(item));
      return fmt::format("[{}]", joined(items));
    } else if constexpr (std::is_same_v<T, ParameterTable>) {
      for (const auto& [name, item] : v) items.push_back(name + " = " + text_of(item));
      return fmt::format("{{{}}}", joined(items));
    } else {
      return fmt::format("{}", v);
    }
  };
  return std::visit(text, value.value);
}

[[noreturn]] void throw_other(std::string_view key, std::string_view now, std::string_view before,
                              const fs::path& folder) {
  throw InputError(fmt::format("'{}' is {}, but the run was begun with {}", key, now, before),
                   folder.string(), kRemedy);
}

const ParameterValue* find(const ParameterTable& table, std::string_view key) {
  const auto found = std::ranges::find(table, key, &NamedParameter::name);
  return found == table.end() ? nullptr : &found->value;
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
  if (table != nullptr && old_table != nullptr) {
    // Entries of another kind differ in all they have.
    const ParameterValue* name = find(*table, "name");
    const ParameterValue* old_name = find(*old_table, "name");
    if (name != nullptr && old_name != nullptr) check_same(key, *name, *old_name, folder);
    for (const auto& [item, value] : *table) {
      const ParameterValue* old = find(*old_table, item);
      if (old == nullptr) throw_other(key + "." + item, text_of(value), "none", folder);
      check_same(key + "." + item, value, *old, folder);
    }
    for (const auto& [item, value] : *old_table) {
      if (find(*table, item) == nullptr) {
        throw_other(key + "." + item, "none", text_of(value), folder);
      }
    }
    return;
  }
  if (text_of(now) != text_of(before)) throw_other(key, text_of(now), text_of(before), folder);
}

void check_same_network(const Config& config, const BegunRun& begun) {
  const Config& before = begun.config;
  if (config.network != before.network) {
    throw_other("network", toml_string(config.network), toml_string(before.network), begun.folder);
  }
  const auto value_in = [](const Config& c, const std::string& option) {
    const auto found = c.network_options.find(option);
    return found == c.network_options.end() ? "none" : toml_string(found->second);
  };
  for (const Config* side : {&config, &before}) {
    for (const auto& [option, value] : side->network_options) {
      const std::string now = value_in(config, option), then = value_in(before, option);
      if (now != then) throw_other("network." + option, now, then, begun.folder);
    }
  }
}

RunData::Split split_of(const Dataset& dataset) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a
  for (const Sample& sample : dataset.samples) {
    for (const char c : sample.id + '\n') {
      hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
    }
  }
  return {static_cast<int64_t>(dataset.samples.size()), fmt::format("{:016x}", hash)};
}

bool same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

void check_same_classes(const std::vector<RunData::Class>& now,
                        const std::vector<RunData::Class>& before, const std::string& root) {
  constexpr std::string_view remedy =
      "restore the classes, their order and their ids, or train under another name";
  const auto text = [](const RunData::Class& c) {
    return fmt::format("{} (ids {})", quote(c.name), fmt::join(c.ids, ", "));
  };
  for (size_t i = 0; i < std::min(now.size(), before.size()); ++i) {
    if (now[i] == before[i]) continue;
    throw InputError(fmt::format("class {} is {}, but the run was begun with {}", i, text(now[i]),
                                 text(before[i])),
                     root, remedy);
  }
  if (now.size() != before.size()) {
    throw InputError(fmt::format("there are {} classes, but the run was begun with {}", now.size(),
                                 before.size()),
                     root, remedy);
  }
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
  const Json json{
      {"train", split(data.train)}, {"val", split(data.val)}, {"classes", std::move(classes)}};
  return exact_json_text(json, "a class's name is not UTF-8", "label_set", "rename the class") +
         '\n';
}

std::optional<RunData> read_run_data(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    const Json json = Json::parse(read_file(file, kMostDataBytes));
    const auto split = [](const Json& s) {
      return RunData::Split{s.at("samples").get<int64_t>(), s.at("names").get<std::string>()};
    };
    RunData data{split(json.at("train")), split(json.at("val")), {}};
    for (const Json& c : json.at("classes")) {
      data.classes.push_back(
          {c.at("name").get<std::string>(), c.at("ids").get<std::vector<int>>()});
    }
    return data;
  } catch (const Json::exception&) {
    throw InputError("not the description of a run's samples", file.string(),
                     "remove it: the data set must then lie where it lay");
  }
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

void keep_begun_defaults(Config& config, const Config& begun) {
  if (!config.given.contains("warmup")) config.warmup = begun.warmup;
  if (!config.given.contains("weights")) config.weights = begun.weights;
  if (!config.own_normalization) config.normalization = begun.normalization;
  if (begun.weights.empty()) return;
  // Options that came from the weights are not told from given ones.
  config.network_options.insert(begun.network_options.begin(), begun.network_options.end());
}

void check_same_configuration(const Config& config, const BegunRun& begun) {
  check_same_network(config, begun);
  const ParameterTable now = toml_values(to_toml(config));
  const ParameterTable before = toml_values(to_toml(begun.config));
  for (const auto& [key, value] : now) {
    if (!is_compared(key)) continue;
    const ParameterValue* old = find(before, key);
    if (old == nullptr) throw_other(key, text_of(value), "none", begun.folder);
    check_same(key, value, *old, begun.folder);
  }
}

void check_same_data(const Config& config, const RunData& data, const BegunRun& begun,
                     bool may_have_moved) {
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
