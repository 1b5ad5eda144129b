"""The door to RabbitMQ: the only importer of aio_pika, and the bus of the distributed system."""

from shared.amqp.bus import AmqpBus

__all__ = ["AmqpBus"]
