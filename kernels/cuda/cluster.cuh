#pragma once
// Thread block clusters: neighbouring blocks that run at the same time, wait for each other and
// read each other's shared memory (compute capability 9.0 and above). Source: CUDA C++ Programming
// Guide, "Thread Block Clusters".

#include "kernels/cuda/launch.cuh"

#if defined(__CUDACC__)
#include <cooperative_groups.h>
#endif

namespace macadam::cuda {

/// Blocks that every device with clusters runs together.
constexpr int kMostClusterBlocks = 8;

#if defined(__CUDACC__)

/// Whether `kernel` was compiled for clusters and the stream's device, which may be a part of a
/// GPU, runs them with kMostClusterBlocks blocks of `threads` threads.
template <typename... Parameters>
bool runs_clusters(const Stream& stream, void (*kernel)(Parameters...), int threads) {
  const auto* function = reinterpret_cast<const void*>(kernel);
  check(cudaSetDevice(stream.device().index), "cudaSetDevice");
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, function), "cudaFuncGetAttributes");
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, stream.device().index),
        "cudaDeviceGetAttribute");
  if (major < 9 || attributes.ptxVersion < 90) return false;
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kMostClusterBlocks, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kMostClusterBlocks);
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  check(cudaOccupancyMaxActiveClusters(&clusters, function, &config),
        "cudaOccupancyMaxActiveClusters");
  return clusters > 0;
}

/// launch() of clusters of `cluster` blocks, which divide the grid's x.
template <typename... Parameters, typename... Arguments>
void launch_clusters(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                     int cluster, const Arguments&... arguments) {
  check(cudaSetDevice(stream.device().index), "cudaSetDevice");
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = static_cast<cudaStream_t>(stream.native());
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...),
        "kernel launch");
  stream.count_launch();
}

/// Waits for all threads of the cluster; what they wrote before is seen by all of them.
__device__ __forceinline__ void cluster_barrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().sync();
#else
  __trap();  // runs_clusters() says so before
#endif
}

/// The block's place in its cluster.
__device__ __forceinline__ int cluster_rank() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  return static_cast<int>(cooperative_groups::this_cluster().block_rank());
#else
  return 0;
#endif
}

/// shared<T>() of another block of the cluster, which has not left.
template <typename T>
__device__ __forceinline__ const T& shared_of(int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  return *cooperative_groups::this_cluster().map_shared_rank(&shared<T>(), rank);
#else
  return shared<T>();
#endif
}

#else

template <typename... Parameters>
bool runs_clusters(const Stream&, void (*)(Parameters...), int) {
  return emulator::clusters;
}

template <typename... Parameters, typename... Arguments>
void launch_clusters(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                     int cluster, const Arguments&... arguments) {
  const auto run = [=] {
    emulator::run_clusters(grid, block, cluster,
                           [&] { kernel(static_cast<Parameters>(arguments)...); });
  };
  if (stream.native() == nullptr) {
    run();
  } else {
    static_cast<emulator::Queue*>(stream.native())->push(run);
    stream.count_launch();
  }
}

inline void cluster_barrier(emulator::Line where = {__builtin_FILE(), __builtin_LINE()}) {
  emulator::cluster_barrier(where);
}

inline int cluster_rank() { return emulator::position.rank; }

template <typename T>
const T& shared_of(int rank) {
  return emulator::shared_of<T>(rank);
}

#endif

}  // namespace macadam::cuda
