#include "run/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/toml.h"
#include "run/config.h"

namespace macadam {

namespace {

/// A key in words.
struct Key {
  std::string key, section, type, by_default, meaning, needs;
  bool by_default_is_value = false;
  OnResume on_resume = OnResume::same;
};

std::vector<Key> all_keys() {
  std::vector<Key> keys;
  for (const DescribedField& f : fields_of(Config())) {
    const FieldNotes& notes = f.field.notes;
    keys.push_back({.key = std::string(f.field.key),
                    .section = f.section,
                    .type = notes.type.empty() ? f.type : notes.type,
                    .by_default = notes.by_default.empty() ? toml_text(f.value) : notes.by_default,
                    .meaning = std::string(f.field.meaning),
                    .needs = std::string(notes.effect.wanted),
                    .by_default_is_value = notes.by_default.empty(),
                    .on_resume = notes.on_resume});
  }
  return keys;
}

std::string_view words_of(OnResume rule) {
  switch (rule) {
    case OnResume::same: return "the same";
    case OnResume::kept: return "kept";
    case OnResume::resolved: return "comes to the same";
    case OnResume::free: return "may change";
  }
  return "";
}

/// The first letter large, as a sentence begins.
std::string sentence(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

/// Text in a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '*' || c == '|') result += '\\';
    result += c;
  }
  return result;
}

constexpr std::string_view kHead = R"(# Configuration

<!-- Made from the description in the program, and a test keeps it current. After a change of that:
     build/release/macadam train --keys --markdown > docs/configuration.md -->

A training run is described by a TOML file, and by `key=value` on the command line, which wins:

```sh
macadam train my.toml lr=5e-4 loader.threads=2 network.dropout=0.1
```

`network` and `dataset` must be given; every other key has a default. The run's folder keeps the
whole configuration, nothing left to defaults, in `config.toml`. Relative paths in a file are seen from
the file's folder, those on the command line and in defaults from the current one. Keys that there are
not, and keys that do nothing beside the others, are errors, unless a key on the command line has made
them so. `macadam train --keys` prints this list, `--json` gives it to programs.

"On resume" says what `train --resume` does with the key when the run goes on: **the same** must stand
as it was; **kept** is the run's where it is not given, and must be the same where it is; of what
**comes to the same** the words may differ, but not what they mean for the run (the classes and their
ids, the samples, the dtype); what **may change** alters no result of the steps to come, but for
`epochs`, and for `device`: another one rounds otherwise.
)";

}  // namespace

std::string keys_table() {
  std::string text, section;
  for (const Key& key : all_keys()) {
    if (key.section != section) {
      text += fmt::format("{}{}\n", section.empty() ? "" : "\n", key.section);
      section = key.section;
    }
    text += fmt::format("  {} {} {}\n", pad_right(key.key, 24), pad_right(key.by_default, 36),
                        words_of(key.on_resume));
    text += fmt::format("      {}\n      {}{}\n", key.meaning, key.type,
                        key.needs.empty() ? "" : fmt::format("; needs {}", key.needs));
  }
  return fmt::format("  {} {} on resume\n      what it says\n      what it may be\n\n{}",
                     pad_right("key", 24), pad_right("default", 36), text);
}

std::string keys_markdown() {
  std::string text(kHead), section;
  for (const Key& key : all_keys()) {
    if (key.section != section) {
      text += fmt::format(
          "\n## {}\n\n| key | values | default | meaning | on resume |\n|---|---|---|---|---|\n",
          key.section);
      section = key.section;
    }
    const std::string needs = key.needs.empty() ? "" : fmt::format(". Needs {}", key.needs);
    text += fmt::format(
        "| `{}` | {} | {} | {} | {} |\n", key.key, cell(key.type),
        key.by_default_is_value ? fmt::format("`{}`", key.by_default) : cell(key.by_default),
        cell(sentence(key.meaning) + needs), words_of(key.on_resume));
  }
  return text;
}

nlohmann::json keys_json() {
  nlohmann::json keys = nlohmann::json::array();
  for (const Key& key : all_keys()) {
    keys.push_back({{"key", key.key},
                    {"section", key.section},
                    {"type", key.type},
                    {"default", key.by_default},
                    {"meaning", key.meaning},
                    {"on_resume", words_of(key.on_resume)},
                    {"needs", key.needs}});
  }
  return keys;
}

}  // namespace macadam
