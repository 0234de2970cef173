#include "app/scoring.h"

#include "app/label_sets.h"
#include "loader/loader_source.h"

namespace macadam {

Loader open_loader(const ModelInfo& info, Dataset dataset, int batch, int threads, Device device,
                   bool reduced_decoding) {
  const LabelSet labels = make_label_set(info, dataset.root);
  LoaderOptions options;
  options.height = info.height;
  options.width = info.width;
  options.batch = batch;
  options.threads = threads;
  options.device = device;
  options.reduced_decoding = reduced_decoding;
  return Loader(std::move(dataset), labels, options);
}

ConfusionMatrix score(LoadedModel& model, Loader& loader, Stream& stream, Ops& ops, DType dtype,
                      const std::function<void(int64_t, int64_t)>& progress) {
  const Graph graph =
      model.graph(loader.options().batch, loader.options().height, loader.options().width);
  EvaluatorOptions options;
  options.dtype = dtype;
  options.normalization = model.info().normalization;
  Evaluator evaluator(graph, model.parameters(), stream, ops, options);
  LoaderSource source(loader);
  source.start(0, 0);
  for (int64_t i = 0; i < source.batches(); ++i) {
    evaluator.add(source.next());
    progress(i + 1, source.batches());
  }
  return evaluator.confusion();
}

}  // namespace macadam
