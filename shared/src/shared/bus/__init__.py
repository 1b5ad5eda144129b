"""The message bus: one port, a topology that is data, and what follows a failure; RabbitMQ stands in `shared.amqp`."""
