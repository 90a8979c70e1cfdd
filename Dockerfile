# monai_spine in a container, for processors or for NVIDIA GPUs:
#   docker build -t monai-spine:cpu .
#   docker build -t monai-spine:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG PYTHON=3.12

# The version's wheel, with the bundles and their weights inside.
FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm
ARG VERSION=0.1.0
ARG TORCH=2.9
# PyTorch's own index has builds without CUDA, a tenth of the size; PyPI's builds bring CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
LABEL org.opencontainers.image.title="monai_spine" \
      org.opencontainers.image.description="Lumbar-spine MRI studies, from DICOM to graded findings. Not a medical device." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is fetched from a network at run time, and nothing is written beside the code.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 MPLCONFIGDIR=/tmp/matplotlib
# PyTorch has a layer of its own, which a new version of the wheel does not replace.
RUN python -m pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch>=${TORCH}" "torchvision>=0.24"
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir "$(ls /wheels/*.whl)[cluster,gcs,openvino,pacs,s3]" \
    && useradd --create-home --uid 10001 spine \
    && python -c "from monai_spine.prediction.models import open_models as o; o(measures=True, runtime='openvino')" \
    && monai-spine bundles
USER 10001
WORKDIR /work
HEALTHCHECK --interval=60s --timeout=20s --start-period=10s CMD ["monai-spine", "bundles", "--json"]
ENTRYPOINT ["monai-spine"]
CMD ["--help"]
