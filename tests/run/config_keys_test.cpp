// One description of a configuration: what follows from it for documents, for resuming, and for old
// files.

#include "run/config_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/toml.h"
#include "run/config.h"
#include "run/resume.h"
#include "tests/paths.h"

namespace macadam {
namespace {

const std::string kMinimal = "network = \"unet_mini\"\ndataset = \"/streets\"\n";

Config parse(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  return parse_config(toml, "/data/first.toml", overrides);
}

/// The message of the InputError that `call` throws; empty when it throws none.
template <class Call>
std::string complaint(const Call& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The content of docs/NAME.
std::string document(const std::string& name) {
  return read_file(source_path("docs/" + name), size_t{1} << 20);
}

TEST(ConfigKeys, TheDocumentIsCurrent) {
  EXPECT_EQ(document("configuration.md"), keys_markdown())
      << "run: build/release/macadam train --keys --markdown > docs/configuration.md";
}

TEST(ConfigKeys, EveryKeyIsExplained) {
  std::set<std::string> keys;
  for (const DescribedField& f : fields_of(Config())) {
    const std::string key(f.field.key);
    EXPECT_TRUE(keys.insert(key).second) << key << " twice";
    EXPECT_GT(f.field.meaning.size(), 10u) << key;
    EXPECT_FALSE(f.type.empty()) << key;
    EXPECT_FALSE(f.section.empty()) << key;
    EXPECT_NE(keys_table().find("\n  " + key + " "), std::string::npos) << key;
  }
}

// Documents show the members' values, which reading could change.
TEST(ConfigKeys, DefaultsAreWhatReadingLeaves) {
  const std::vector<DescribedField> read = fields_of(parse(kMinimal));
  const std::vector<DescribedField> shown = fields_of(Config());
  ASSERT_EQ(read.size(), shown.size());
  for (size_t i = 0; i < read.size(); ++i) {
    const FieldNotes& notes = shown[i].field.notes;
    const bool depends = !notes.by_default.empty() && shown[i].field.key != "lr" &&
                         shown[i].field.key != "weight_decay" && shown[i].field.key != "warmup";
    if (depends) continue;
    EXPECT_EQ(toml_text(read[i].value), toml_text(shown[i].value)) << shown[i].field.key;
  }
}

// "| Blur | `blur_limit` 7: ... |": the names and defaults in the document are those described.
TEST(ConfigKeys, TheDocumentOfTransformsIsCurrent) {
  const std::regex row(R"(\| (\w+)(?: \(p = ([0-9.]+)\))? \|([^|]*)\|[^|]*\|)");
  const std::regex values(
      R"(((?:`\w+`(?:, )?)+) (\[[^\]]*\]|"[a-z]*"|true|false|-?[0-9][0-9.]*[0-9]|[0-9]))");
  const std::regex key(R"(`(\w+)`)");
  std::set<std::string> names;
  for (const std::string& line : lines_of(document("augmentation.md"))) {
    std::smatch cells;
    if (!std::regex_match(line, cells, row) || cells[1] == "transform") continue;
    const std::string name = cells[1], parameters = cells[3];
    SCOPED_TRACE(name);
    EXPECT_TRUE(names.insert(name).second);
    const auto list = [&](const std::string& more) {
      const std::string scale = name == "RandomScale" ? ", {name = \"RandomCrop\"}" : std::string();
      return parse(kMinimal + "augment = [{name = \"" + name + "\"" + more + "}" + scale + "]")
          .augment;
    };
    const AugmentList by_default = list("");
    const std::string text = toml_text(to_value({by_default.front()}));
    std::string p = cells[2];
    EXPECT_EQ(by_default.front().p, p.empty() ? 0.5 : std::stod(p));
    // What it names is there, with that default.
    std::set<std::string> named;
    for (std::sregex_iterator i(parameters.begin(), parameters.end(), key), end; i != end; ++i) {
      named.insert((*i)[1]);
    }
    for (std::sregex_iterator i(parameters.begin(), parameters.end(), values), end; i != end; ++i) {
      const std::string keys = (*i)[1], value = (*i)[2];
      for (std::sregex_iterator k(keys.begin(), keys.end(), key); k != end; ++k) {
        EXPECT_TRUE(list(", " + std::string((*k)[1]) + " = " + value) == by_default)
            << (*k)[1] << " " << value;
      }
    }
    // What is there, it names; borders are told of below the table.
    const std::set<std::string> elsewhere{"name", "p", "border_mode", "value", "mask_value"};
    const std::regex written(R"((\w+) = )");
    for (std::sregex_iterator i(text.begin(), text.end(), written), end; i != end; ++i) {
      EXPECT_TRUE(elsewhere.contains((*i)[1]) || named.contains((*i)[1])) << (*i)[1];
    }
  }
  EXPECT_EQ(names.size(), std::variant_size_v<Transform> - 2) << "all but OneOf and Compose";
}

/// Another valid value of the field, as TOML.
std::string another(const DescribedField& f) {
  const std::map<std::string_view, std::string> others{{"network", "\"unet\""},
                                                       {"dataset", "\"/other\""},
                                                       {"label_set", "\"camvid11\""},
                                                       {"loss", "\"ce\""},
                                                       {"class_weights", "[1]"},
                                                       {"freeze", "[\"a\"]"},
                                                       {"augment", "[]"},
                                                       {"device", "\"cpu\""},
                                                       {"name", "\"other\""},
                                                       {"runs", "\"/elsewhere\""},
                                                       {"weights", "\"/w\""},
                                                       {"teacher", "\"/t\""},
                                                       {"tracking.mlflow", "\"http://host\""}};
  const auto found = others.find(f.field.key);
  if (found != others.end()) return found->second;
  const auto smaller = [](double v) { return v == 0 ? 0.0005 : v / 2; };
  if (const auto* boolean = std::get_if<bool>(&f.value.value)) return *boolean ? "false" : "true";
  if (const auto* integer = std::get_if<int64_t>(&f.value.value))
    return std::to_string(*integer + 1);
  if (const auto* number = std::get_if<double>(&f.value.value)) {
    return toml_text({smaller(*number)});
  }
  if (const auto* list = std::get_if<ParameterList>(&f.value.value)) {
    ParameterList changed = *list;
    changed.front() = {smaller(std::get<double>(changed.front().value))};
    return toml_text({changed});
  }
  const std::string now = toml_text(f.value);
  const std::regex word(R"("\w+")");
  for (std::sregex_iterator i(f.type.begin(), f.type.end(), word), end; i != end; ++i) {
    if (i->str() != now) return i->str();
  }
  return "";
}

TEST(ConfigKeys, ResumingComparesWhatTheDescriptionSays) {
  for (const char* more : {"", "optimizer = \"sgd\"\n"}) {
    const BegunRun begun{"/runs/x", parse(kMinimal + more), {}};
    EXPECT_EQ(complaint([&] { check_same_configuration(begun.config, begun); }), "");
    for (const DescribedField& f : fields_of(begun.config)) {
      if (!f.field.notes.effect.holds) continue;
      const std::string key(f.field.key), value = another(f);
      ASSERT_NE(value, "") << key;
      Config now = parse(kMinimal + more, {key + "=" + value});
      keep_begun_defaults(now, begun);
      const std::string message = complaint([&] { check_same_configuration(now, begun); });
      const OnResume rule = f.field.notes.on_resume;
      if (rule == OnResume::free || rule == OnResume::resolved) {
        EXPECT_EQ(message, "") << key;
      } else {
        EXPECT_TRUE(message.starts_with("'" + key)) << key << " -> " << message;
        EXPECT_NE(message.find("the run was begun with"), std::string::npos) << message;
        EXPECT_NE(message.find("/runs/x"), std::string::npos) << message;
      }
    }
  }
}

TEST(ConfigKeys, WhatFollowsFromOtherKeysIsKept) {
  BegunRun begun{"/runs/x", parse(kMinimal + "epochs = 2"), {}};
  Config longer = parse(kMinimal + "epochs = 20");
  EXPECT_EQ(longer.warmup, 1.0);
  keep_begun_defaults(longer, begun);
  EXPECT_DOUBLE_EQ(longer.warmup, 0.2);
  EXPECT_EQ(complaint([&] { check_same_configuration(longer, begun); }), "");

  // A run that weights decided on goes on without saying so.
  begun.config = parse("network = {name = \"unet_mini\", dropout = 0.1}\ndataset = \"/streets\"\n" +
                       std::string("weights = \"w\"\n[normalization]\nrange = 255\n"));
  Config again = parse(kMinimal);
  keep_begun_defaults(again, begun);
  EXPECT_EQ(again.weights, "/data/w");
  EXPECT_EQ(again.normalization, begun.config.normalization);
  EXPECT_EQ(again.network_options.at("dropout"), "0.1");
  EXPECT_EQ(complaint([&] { check_same_configuration(again, begun); }), "");
  // But a table that is given is meant as a whole.
  Config own = parse(kMinimal + "[normalization]\nbgr = false\n");
  keep_begun_defaults(own, begun);
  EXPECT_EQ(complaint([&] { check_same_configuration(own, begun); }),
            "'normalization.range' is 1, but the run was begun with 255: /runs/x: resume with the "
            "same value, or train under another name");

  // A warm-up that no longer fits is said, not stretched.
  begun.config = parse(kMinimal + "warmup = 2.5");
  Config shorter = parse(kMinimal + "epochs = 2");
  EXPECT_EQ(complaint([&] { keep_begun_defaults(shorter, begun); }),
            "'warmup' is 2.5, which is out of range: /runs/x: write a number from 0 to 2");
}

TEST(ConfigKeys, OptionsOfTheNetworkAreComparedOneByOne) {
  const auto resume = [](const std::string& now, const std::string& before) {
    const BegunRun begun{"/runs/x", parse(kMinimal, {before}), {}};
    return complaint([&] { check_same_configuration(parse(kMinimal, {now}), begun); });
  };
  EXPECT_EQ(resume("network.dropout=0.1", "network.dropout=\"0.1\""), "");
  EXPECT_TRUE(resume("network.dropout=0.2", "network.dropout=0.1")
                  .starts_with("'network.dropout' is \"0.2\", but the run was begun with \"0.1\""));
  EXPECT_TRUE(resume("network.dropout=0.2", "network=unet_mini")
                  .starts_with("'network.dropout' is \"0.2\", but the run was begun with none"));
  EXPECT_TRUE(resume("network=unet_mini", "network.dropout=0.1")
                  .starts_with("'network.dropout' is none, but the run was begun with \"0.1\""));
  EXPECT_TRUE(resume("network=unet", "network.dropout=0.1")
                  .starts_with("'network' is \"unet\", but the run was begun with \"unet_mini\""));
}

// As it was written before the description was one.
TEST(ConfigKeys, TheFileOfAnOlderRunIsWrittenTheSame) {
  const std::string old = R"(network = {name = "unet_mini", dropout = "0.25"}
dataset = {train = "/a", val = "/b"}
label_set = "trainids19"
void = "ignore"
size = [32, 64]
batch = 2
epochs = 2
loss = "0.5*ce + 2*dice"
class_weights = [1, 0.5, 0.1]
label_smoothing = 0.1
dice_absent = "suppress"
dice_smooth = 1e-05
optimizer = "sgd"
lr = 0.002
weight_decay = 0.0001
momentum = 0.8
nesterov = true
accumulate = 2
clip_norm = 0.5
ema = 0.999
schedule = "poly"
min_lr = 1e-06
warmup = 0.30000000000000004
freeze = [{pattern = "down*", epochs = 1}, "*.bias"]
encoder_lr = 1
freeze_batch_norm = "none"
precision = "fp32"
device = "cpu"
seed = 9223372036854775807
name = "try 2"
runs = "/runs"
weights = ""
augment = [
  {name = "RandomCrop", height = 64, width = 64, class_uniform = 0.5, cat_max_ratio = 1, p = 1},
  {name = "OneOf", transforms = [{name = "Blur", blur_limit = [3, 7], p = 0.5}], p = 0.5},
  {name = "CoarseDropout", max_holes = 8, max_height = 0.25, max_width = 0.125, min_holes = 8, min_height = 0.25, min_width = 0.125, fill_value = [0, 0, 0], mask_fill_value = 255, p = 0.5},
  {name = "RandomContrast", limit = [-0.1234567890123, 0.1234567890123], p = 0.5},
]
checkpoint_seconds = 12.5

[normalization]
mean = [0, 0.25, 0.1]
std = [1, 0.5, 0.3]
range = 255
bgr = true

[loader]
threads = 1
cache = 0
device_cache = 0
reduced_decoding = false
strict = false

[early_stopping]
patience = 4

[metrics]
absent = "zero"
)";
  // Keys may have come since, but none was lost or is written in another way.
  const std::string text = to_toml(parse_config(old, "/runs/try/config.toml"));
  const std::vector<std::string> now = lines_of(text);
  for (const std::string& line : lines_of(old)) {
    EXPECT_NE(std::ranges::find(now, line), now.end()) << line;
  }
  EXPECT_EQ(to_toml(parse_config(text, "/runs/try/config.toml")), text);
}

// An override may take nesterov's momentum away; the run's file must still be read.
TEST(ConfigKeys, WhatAnOverrideMadeIdleIsWrittenSo) {
  const Config c = parse(kMinimal + "optimizer = \"sgd\"\nnesterov = true\n", {"momentum=0"});
  EXPECT_FALSE(c.optimizer.sgd.nesterov);
  EXPECT_EQ(to_toml(parse(to_toml(c))), to_toml(c));
}

}  // namespace
}  // namespace macadam
