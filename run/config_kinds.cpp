#include "run/config_kinds.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "run/loss_expression.h"

namespace macadam {

namespace {

bool holds_date(const ParameterValue& value) {
  if (const auto* list = std::get_if<ParameterList>(&value.value)) {
    return std::ranges::any_of(*list, holds_date);
  }
  if (const auto* table = std::get_if<ParameterTable>(&value.value)) {
    return std::ranges::any_of(*table, holds_date, &NamedParameter::value);
  }
  return std::holds_alternative<DateTime>(value.value);
}

FreezeRule read_rule(const GivenValue& given) {
  FreezeRule rule;
  if (const auto* table = std::get_if<ParameterTable>(&given.value().value)) {
    for (const auto& [part, value] : *table) {
      const auto* pattern = std::get_if<std::string>(&value.value);
      const auto* epochs = std::get_if<int64_t>(&value.value);
      if (part == "pattern" && pattern != nullptr) {
        rule.pattern = *pattern;
      } else if (part == "epochs" && epochs != nullptr) {
        rule.epochs = *epochs;
      } else {
        given.fail(fmt::format("holds {} as {}", type_name(value), quote(part)));
      }
    }
  } else if (const auto* pattern = std::get_if<std::string>(&given.value().value)) {
    rule.pattern = *pattern;
  } else {
    given.fail(fmt::format("holds {}", type_name(given.value())));
  }
  if (rule.pattern.empty()) given.fail("holds a rule without a pattern");
  if (rule.epochs < 1) {
    given.fail(fmt::format("freezes {} for {} epochs", quote(rule.pattern), rule.epochs),
               "write an integer from 1");
  }
  return rule;
}

}  // namespace

FieldKind network_kind(std::string& name, std::map<std::string, std::string>& options) {
  const auto read = [&](const GivenValue& given) {
    const auto* table = std::get_if<ParameterTable>(&given.value().value);
    if (table == nullptr) {
      name = given.text();
      return;
    }
    for (const auto& [option, value] : *table) {
      const GivenValue inner = given.at(option);
      if (option == "name") {
        name = inner.text();
        continue;
      }
      const std::optional<std::string> text = scalar_text(value);
      if (!text) inner.fail(fmt::format("is {}", type_name(value)), "write a number or a string");
      options[option] = *text;
    }
  };
  const auto write = [&]() -> ParameterValue {
    if (options.empty()) return {name};
    ParameterTable table{{"name", {name}}};
    for (const auto& [option, text] : options) table.push_back({option, {text}});
    return {std::move(table)};
  };
  return {.type = "a string, or a table {name = ..., OPTION = ...}",
          .read = read,
          .write = write,
          .any_below = true};
}

FieldKind dataset_kind(DatasetPaths& paths) {
  const auto read = [&](const GivenValue& given) {
    const auto* table = std::get_if<ParameterTable>(&given.value().value);
    if (table == nullptr) {
      paths.train = paths.val = paths.test = given.path();
      return;
    }
    if (find(*table, "train") != nullptr) paths.train = given.at("train").path();
    if (find(*table, "val") != nullptr) paths.val = given.at("val").path();
    if (find(*table, "test") != nullptr) paths.test = given.at("test").path();
  };
  const auto write = [&]() -> ParameterValue {
    if (paths.train == paths.val && paths.train == paths.test) return {paths.train};
    ParameterTable table{{"train", {paths.train}}, {"val", {paths.val}}};
    if (!paths.test.empty()) table.push_back({"test", {paths.test}});
    return {std::move(table)};
  };
  return {.type = "a path, or a table {train = ..., val = ..., test = ...}",
          .read = read,
          .write = write,
          .below = {"train", "val", "test"}};
}

FieldKind batch_kind(int& batch, bool& automatic) {
  constexpr int kMost = 1 << 16;
  const auto read = [&](const GivenValue& given) {
    const auto* word = std::get_if<std::string>(&given.value().value);
    automatic = word != nullptr && *word == "auto";
    if (!automatic) batch = static_cast<int>(given.integer(1, kMost));
  };
  const auto write = [&]() -> ParameterValue {
    if (automatic) return {std::string("auto")};
    return {int64_t{batch}};
  };
  return {.type = fmt::format("an integer from 1 to {}, or \"auto\"", kMost),
          .read = read,
          .write = write};
}

FieldKind loss_kind(LossDesc& loss, std::map<std::string, std::string>& given) {
  return {.type = "terms, for example \"ce + dice\" or \"0.5*ce + dice\"",
          .read =
              [&](const GivenValue& value) {
                ParsedLoss parsed = parse_loss(value.text(), value.where());
                loss = parsed.loss();
                given = std::move(parsed.given);
              },
          .write = [&] { return ParameterValue{loss_text(loss)}; }};
}

FieldKind class_weights_kind(std::vector<float>& weights, std::optional<ClassWeighting>& rule) {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> all{"none"};
    for (const std::string_view name : class_weighting_names()) all.emplace_back(name);
    return all;
  }();
  const auto read = [&](const GivenValue& given) {
    weights.clear();
    rule.reset();
    if (const auto* word = std::get_if<std::string>(&given.value().value)) {
      const auto found = std::ranges::find(words, *word);
      if (found == words.end()) given.fail(fmt::format("is {}", quote(*word)));
      if (found != words.begin()) rule = static_cast<ClassWeighting>(found - words.begin() - 1);
      return;
    }
    for (const GivenValue& item : given.items()) {
      weights.push_back(static_cast<float>(item.number(0, 1e6)));
    }
    if (std::ranges::none_of(weights, [](float w) { return w > 0; })) {
      given.fail("has no positive weight");
    }
  };
  const auto write = [&]() -> ParameterValue {
    if (rule) return {std::string(name_of(*rule))};
    if (weights.empty()) return {std::string("none")};
    ParameterList list;
    for (const float weight : weights) list.push_back({shortest(weight)});
    return {std::move(list)};
  };
  return {.type = fmt::format("one of \"{}\", or a list of one number a class, from 0 to 1000000",
                              joined(words, "\", \"")),
          .read = read,
          .write = write,
          .idle = [&] { return weights.empty() && !rule; }};
}

FieldKind freeze_kind(std::vector<FreezeRule>& rules) {
  const auto read = [&](const GivenValue& given) {
    rules.clear();
    for (const GivenValue& item : given.items()) {
      FreezeRule rule = read_rule(item);
      if (std::ranges::find(rules, rule.pattern, &FreezeRule::pattern) != rules.end()) {
        given.fail(fmt::format("holds {} twice", quote(rule.pattern)), "keep one of them");
      }
      rules.push_back(std::move(rule));
    }
  };
  const auto write = [&]() -> ParameterValue {
    ParameterList list;
    for (const FreezeRule& rule : rules) {
      if (rule.epochs == FreezeRule::kWholeRun) {
        list.push_back({rule.pattern});
      } else {
        list.push_back({ParameterTable{{"pattern", {rule.pattern}}, {"epochs", {rule.epochs}}}});
      }
    }
    return {std::move(list)};
  };
  return {.type = "for example [\"encoder.*\"] or [{pattern = \"encoder.*\", epochs = 5}]",
          .read = read,
          .write = write};
}

FieldKind variants_kind(std::vector<Variant>& variants) {
  const auto read = [&](const GivenValue& given) {
    variants.clear();
    for (const GivenValue& item : given.items()) {
      const auto* table = std::get_if<ParameterTable>(&item.value().value);
      if (table == nullptr || find(*table, "name") == nullptr) {
        item.fail("is no table with a name", "write [[variant]] and below it name = \"...\"");
      }
      Variant variant{item.at("name").text(), {}};
      if (std::ranges::find(variants, variant.name, &Variant::name) != variants.end()) {
        item.fail(fmt::format("holds the name {} twice", quote(variant.name)), "give it another");
      }
      for (const NamedParameter& entry : *table) {
        if (entry.name != "name") variant.values.push_back(entry);
      }
      variants.push_back(std::move(variant));
    }
  };
  return {.type = "a list of tables {name = ..., KEY = ...}", .read = read, .idle = [&variants] {
            return variants.empty();
          }};
}

FieldKind augment_kind(AugmentList& list, ImageSize size) {
  return {.type = "a list of tables {name = ..., p = ..., PARAMETER = ...}",
          .read =
              [&list, size](const GivenValue& given) {
                if (holds_date(given.value())) {
                  given.fail("holds a date or time", "write numbers and strings");
                }
                list = parse_augmentation(given.value(), given.where(), size);
              },
          .write = [&list] { return to_value(list); },
          .one_a_line = true};
}

}  // namespace macadam
